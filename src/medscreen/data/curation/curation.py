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
from medscreen.data.curation.duplicates import (
    JOINING,
    exact_audit,
    exact_copies,
    near_audit,
    of_every_copy,
    one_of_each,
    require_no_near,
    without_exact,
    without_near,
)
from medscreen.data.curation.near_duplicates import Pairs, near_pairs
from medscreen.data.curation.patient_ids import number_patients, owner
from medscreen.data.curation.splits import published_splits, require_both_classes, split_by_patient
from medscreen.data.images import FINDING, SPLITS, ImageSet, Pixels
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
    near: Pairs

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
    found = _find_copies(pixels, readable, params, workers, scratch)
    patients = number_patients(readable, found.of_one_patient)
    labels = np.array([record.label for record in readable.records])
    names = np.array([record.split or "" for record in readable.records])
    published = published_splits(names, found.kept, labels, patients, params, seed)
    assigned = published or split_by_patient(found.kept, labels, patients, params, seed)
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
    for name, positions in assigned.items():
        require_both_classes(name, images.labels[positions])
    homes = {int(i): name for name, positions in assigned.items() for i in positions}
    audit = {
        "records": len(records),
        "source_notes": _notes(records, readable),
        "readable": len(readable.records),
        "without_exact_copies": len(found.without_exact),
        "without_near_copies": len(found.kept),
        "quarantined": quarantine,
        "burned_in": readable.burned_in,
        "for_processing": readable.for_processing,
        "exact_copies": exact_audit(
            readable, found.groups, params.exact_copies, len(readable.records) - len(found.without_exact)
        ),
        "near_copies": near_audit(
            readable, found.pairs, params.near_copies, len(found.without_exact) - len(found.kept), homes
        ),
        "patients": len(set(patients.tolist())),
        "respelled_patients": len({record.patient for record in readable.records if record.patient})
        - len({owner(record) for record in readable.records if record.patient}),
        "merged_values": {},
        "published_splits": published is not None,
        "leaks": leaks(images, assigned),
        "splits": {name: summary(images, assigned[name]) for name in SPLITS},
    }
    return Curated(images, assigned, audit, found.pairs)


@dataclass(frozen=True)
class _Copies:
    """Exact copies (groups of positions) and near ones, and the positions that stay."""

    groups: list[list[int]]
    pairs: Pairs
    without_exact: NDArray[np.int64]
    kept: NDArray[np.int64]
    of_one_patient: list[Sequence[int]]


def _find_copies(pixels: Pixels, readable: Readable, params: CurationParams, workers: int, scratch: Path) -> _Copies:
    groups = exact_copies(readable, params.exact_copies)
    different = one_of_each(readable, groups)
    kept = np.arange(len(readable.records))
    without = without_exact(readable, groups) if params.exact_copies == "drop" else kept
    near = near_pairs(pixels, different, workers, scratch.with_name(f"{scratch.name}-textures"))
    pairs = of_every_copy(near, groups, without)
    require_no_near(pairs, params.near_copies)
    kept = without_near(readable, without, pairs) if params.near_copies == "drop" else without
    joined: list[Sequence[int]] = [*groups] if params.exact_copies in JOINING else []
    if params.near_copies in JOINING:
        joined += pairs.positions()
    return _Copies(groups, pairs, without, kept, joined)


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
