"""Records of a data set: label, patient, split and attributes of each image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.display import Grey


@dataclass(frozen=True, slots=True)  # a data set has one per image
class Record:
    """An image of a data set before curation.

    `origin`: its name below the data set's root. `image`: the file to decode or, from an array file, the display gray.
    `patient`: None if unknown. `label`: 0 normal, 1 abnormal. `split`: the published split, None without one.
    `finding`: class in the data set, normal ones included; it may be finer than the label. `attributes`: attributes for
    subgroups (sex, age, site), as text. `frame`: frame of a multi-frame file, from 0 (None: the middle one). `display`:
    display settings of DICOM.
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
