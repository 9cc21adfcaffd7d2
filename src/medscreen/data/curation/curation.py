"""Records -> readable, deduplicated, patient-safe splits, and the audit of all that was dropped."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import CurationParams
from medscreen.data.curation.audit import leaks, summary
from medscreen.data.curation.decoding import Readable, decode
from medscreen.data.curation.duplicates import exact_audit, find_copies, near_audit
from medscreen.data.curation.near_duplicates import Pair
from medscreen.data.curation.splits import cut_splits, number_patients, person
from medscreen.data.images import FINDING, SPLITS, ImageSet
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError


@dataclass(frozen=True)
class Curated:
    """All readable images (mem-mapped), which of them each split holds, the audit for curation.json, and near copies.

    Near copies are positions among `images`, dropped ones too.
    """

    images: ImageSet
    splits: dict[str, NDArray[np.int64]]
    audit: dict[str, Any]
    near: list[Pair]

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

    Unreadable files are quarantined. Exact copies (equal decoded pixels) and near ones are found, and treated as
    `params` says; published val and test keep all of theirs, and `drop` alone takes out of train what it shares with
    them. Where the splits are cut here, a patient lies in one, however spelled. `scratch` is a file for the decoded
    pixels, so that memory stays bounded. `on_record` is called after each record that has been read.

    Raises MedscreenError where nothing readable is left, a split would lack one of the classes, or there are copies
    that must not be.
    """
    pixels, readable, quarantine = decode(records, size, workers, scratch, on_record)
    if not readable.records:
        reason = quarantine[0]["reason"] if quarantine else "there is no record"
        raise MedscreenError(f"None of the {len(records)} images can be read (first reason: {reason}).")
    copies = find_copies(pixels, readable, params, workers, scratch.with_name(f"{scratch.name}-textures"))
    patients = number_patients(readable.records, copies.of_one_patient)
    labels = np.array([record.label for record in readable.records])
    assigned, published = cut_splits(readable.records, copies.kept, labels, patients, params, seed)
    images = ImageSet(
        pixels,
        labels,
        patients,
        [record.origin for record in readable.records],
        readable.digests,
        _traits(readable.records),
        readable.spacings,
        readable.records[0].display,
        _dicom(readable.described),
    )
    homes = {int(i): name for name, positions in assigned.items() for i in positions}
    spelled = {record.patient for record in readable.records if record.patient}
    audit = {
        "records": len(records),
        "source_notes": _notes(records, readable),
        "readable": len(readable.records),
        "without_exact_copies": len(copies.without_exact),
        "without_near_copies": len(copies.kept),
        "quarantined": quarantine,
        "burned_in": readable.burned_in,
        "for_processing": readable.for_processing,
        "exact_copies": exact_audit(readable, copies, params.exact_copies),
        "near_copies": near_audit(readable, copies, params.near_copies, homes),
        "patients": len(np.unique(patients)),
        "respelled_patients": len(spelled) - len(set(map(person, spelled))),
        "merged_values": {},
        "published_splits": published,
        "leaks": leaks(images, assigned),
        "splits": {name: summary(images, assigned[name]) for name in SPLITS},
    }
    return Curated(images, assigned, audit, copies.pairs)


def _notes(records: Sequence[Record], readable: Readable) -> dict[str, int]:
    notes = dict(records.notes) if isinstance(records, Records) else {}
    if readable.others:
        notes["further pages or frames of files that count as one image"] = readable.others
    return notes


def _dicom(described: Sequence[Mapping[str, str] | None]) -> dict[str, list[str | None]]:
    names = sorted({name for of_image in described for name in of_image or ()})
    return {name: [None if of_image is None else of_image[name] for of_image in described] for name in names}


def _traits(records: Sequence[Record]) -> dict[str, list[str]]:
    names = sorted({name for record in records for name in record.traits})
    columns = {name: [record.traits.get(name, "") for record in records] for name in names}
    return {FINDING: [record.finding for record in records], **columns}
