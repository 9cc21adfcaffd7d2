"""Records of a data set: what its source states about each image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.display import Grey


@dataclass(frozen=True, slots=True)  # a data set has one per image
class Record:
    """One image before it is read.

    `origin`: its name below the data set's root. `image`: the file to decode, or the display gray. `patient`: None if
    the source does not state it. `label`: 0 normal, 1 abnormal. `split`: the published split, None without one.
    `finding`: the class that the source names, finer than the label or the same. `attributes`: attributes for subgroups
    (sex, age, site), as text. `frame`: frame of a multi-frame file, from 0 (None: the middle one). `display`: display
    settings of DICOM.
    """

    origin: str
    image: Path | Grey
    patient: str | None
    label: int
    finding: str
    split: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    frame: int | None = None
    display: DisplayParams = FILE_DISPLAY


class Records(list[Record]):
    """The records of a data set in an order that depends on its files only.

    `notes`: description of skipped inputs -> their number, without file names or patients.
    """

    def __init__(self, records: Iterable[Record], notes: Mapping[str, int] | None = None) -> None:
        super().__init__(records)
        self.notes = {what: number for what, number in (notes or {}).items() if number}
