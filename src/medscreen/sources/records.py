"""What every source promises of an image before it is read."""

from dataclasses import dataclass
from pathlib import Path

from medscreen.ingestion import Grey


@dataclass(frozen=True)
class Record:
    """One image before it is read.

    `origin` names it below the data set's root; `image` is the file to decode or, where a source holds
    arrays already, the display grey itself. `label`: 0 normal, 1 abnormal. `split` is the published split,
    None where the source publishes none.
    """

    origin: str
    image: Path | Grey
    patient: str
    label: int
    split: str | None = None
