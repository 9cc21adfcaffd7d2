"""Records -> readable, deduplicated, patient-safe splits, and the audit of all that was dropped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.curation.audit import leaks, summary
from medscreen.curation.copies import drop_copies
from medscreen.curation.people import number_patients, owner
from medscreen.curation.readable import decode
from medscreen.curation.splits import published_splits, require_both_classes, split_by_patient
from medscreen.errors import MedscreenError
from medscreen.images import SPLITS, ImageSet
from medscreen.params import CurationParams
from medscreen.sources import Record


@dataclass(frozen=True)
class Curated:
    """All readable images (mem-mapped), which of them each split holds, and the audit for curation.json."""

    images: ImageSet
    splits: dict[str, NDArray[np.int64]]
    audit: dict[str, Any]

    def split(self, name: str) -> ImageSet:
        """One split, copied into memory."""
        return self.images.take(self.splits[name])


def curate(
    records: Sequence[Record],
    size: int,
    params: CurationParams,
    seed: int,
    workers: int,
    scratch: Path,
    on_record: Callable[[], None] = lambda: None,
) -> Curated:
    """Splits of `size` x `size` images.

    Unreadable files are quarantined. Of exact copies (equal decoded pixels) one stays: published val and test
    keep all of theirs, train loses what it shares with them. A patient lies in one split, however spelled; people
    who share an image count as one patient. `scratch` is a file for the decoded pixels, so that memory stays
    bounded. `on_record` is called after each record that has been read.

    Raises MedscreenError where nothing readable is left or a split would lack one of the classes.
    """
    pixels, readable, quarantine = decode(records, size, workers, scratch, on_record)
    if not readable.records:
        reason = quarantine[0]["reason"] if quarantine else "there is no record"
        raise MedscreenError(f"None of the {len(records)} images can be read (first reason: {reason}).")
    patients = number_patients(readable)
    kept, copies = drop_copies(readable)
    assigned = published_splits(readable, kept, patients, params, seed)
    if assigned is None:
        assigned = split_by_patient(readable, kept, patients, params, seed)
    images = ImageSet(
        pixels,
        np.array([record.label for record in readable.records]),
        patients,
        [record.origin for record in readable.records],
        readable.digests,
        _traits(readable.records),
        readable.spacings,
        readable.records[0].display,
    )
    for name, positions in assigned.items():
        require_both_classes(name, images.labels[positions])
    audit = {
        "records": len(records),
        "readable": len(readable.records),
        "quarantined": quarantine,
        "burned_in": readable.burned_in,
        "exact_copies": copies,
        "patients": len(set(patients.tolist())),
        "respelled_patients": len({record.patient for record in readable.records if record.patient})
        - len({owner(record) for record in readable.records if record.patient}),
        "leaks": leaks(images, assigned),
        "splits": {name: summary(images, assigned[name]) for name in SPLITS},
    }
    return Curated(images, assigned, audit)


def _traits(records: Sequence[Record]) -> dict[str, list[str]]:
    names = sorted({name for record in records for name in record.traits})
    columns = {name: [record.traits.get(name, "") for record in records] for name in names}
    return {"finding": [record.finding for record in records], **columns}
