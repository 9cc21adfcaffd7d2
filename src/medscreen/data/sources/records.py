"""The records of a data set: what its source states of each image before it is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.display import Grey


@dataclass(frozen=True, slots=True)  # of each image of a data set there is one
class Record:
    """One image before it is read.

    `origin` names it below the data set's root; `image` is the file to decode or the display grey itself. `patient` is
    None where the source does not state whose an image is. `label`: 0 normal, 1 abnormal. `split` is the published
    split, None without one. `finding` is the class that the source names, finer than the label or the same;
    `attributes` are what subgroups are made of (sex, age, site), as text. `frame` is the one wanted of a multi-frame
    file, from 0 (None: the middle one), and `display` how DICOM becomes grey.
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
    """The records of a data set in an order that depends on its files alone.

    `notes`: skipped inputs, what -> how often; counts only, so that they name nobody.
    """

    def __init__(self, records: Iterable[Record], notes: Mapping[str, int] | None = None) -> None:
        super().__init__(records)
        self.notes = {what: number for what, number in (notes or {}).items() if number}
