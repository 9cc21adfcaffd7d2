"""Curation of records into readable, deduplicated splits by patient, with an audit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import CurationParams
from medscreen.data.curation.audit import leaks, summary
from medscreen.data.curation.decoding import decode
from medscreen.data.curation.duplicates import exact_duplicates_audit, find_duplicates, near_duplicates_audit
from medscreen.data.curation.near_duplicates import Pair
from medscreen.data.curation.splits import cut_splits, number_patients, person
from medscreen.data.images import FINDING, SPLITS, ImageSet
from medscreen.data.load_image import BURNED_IN
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError


@dataclass(frozen=True)
class Curated:
    """All readable images (memory-mapped), positions of each split, audit for curation.json, and near duplicates.

    Near duplicates are positions among `images`, including dropped ones.
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

    Unreadable files are quarantined. Exact duplicates (equal decoded pixels) and near duplicates are treated as
    `params` states: nothing is removed from published val and test, and only `drop` removes their duplicates from
    train. Splits that are cut here share no patient, however spelled. `scratch`: file for the decoded pixels, which
    bounds the use of memory. `on_record` is called after each record that has been read.

    Raises MedscreenError if no image is readable, a split would lack a class, or a policy `fail` finds duplicates.
    """
    pixels, readable, quarantine = decode(records, size, workers, scratch, on_record)
    if not readable:
        reason = quarantine[0]["reason"] if quarantine else "there is no record"
        raise MedscreenError(f"None of the {len(records)} images can be read (first reason: {reason}).")
    read, displayed = [image.record for image in readable], [image.displayed for image in readable]
    copies = find_duplicates(pixels, readable, params, workers, scratch.with_name(f"{scratch.name}-textures"))
    patients = number_patients(read, copies.of_one_patient)
    labels = np.array([record.label for record in read])
    assigned, published = cut_splits(read, copies.kept, labels, patients, params, seed)
    attributes = sorted({name for record in read for name in record.attributes})
    stated = sorted({name for image in displayed for name in image.described or ()})
    images = ImageSet(
        pixels,
        labels,
        patients,
        [record.origin for record in read],
        [image.digest for image in readable],
        {
            FINDING: [r.finding for r in read],
            **{name: [r.attributes.get(name, "") for r in read] for name in attributes},
        },
        [image.spacing for image in displayed],
        read[0].display,
        {name: [None if s.described is None else s.described[name] for s in displayed] for name in stated},
    )
    homes = {int(i): name for name, positions in assigned.items() for i in positions}
    spelled = {record.patient for record in read if record.patient}
    notes = dict(records.notes) if isinstance(records, Records) else {}
    # sources that chose a frame have counted the others
    if others := sum(s.others for record, s in zip(read, displayed, strict=True) if record.frame is None):
        notes["further pages or frames of files that count as one image"] = others
    audit = {
        "records": len(records),
        "source_notes": notes,
        "readable": len(readable),
        "without_exact_duplicates": len(copies.without_exact),
        "without_near_duplicates": len(copies.kept),
        "quarantined": quarantine,
        "burned_in": sum(s.burned_in for s in displayed) + sum(q["reason"] == BURNED_IN for q in quarantine),
        "for_processing": sum(s.for_processing for s in displayed),
        "exact_duplicates": exact_duplicates_audit(read, copies, params.exact_duplicates),
        "near_duplicates": near_duplicates_audit(read, copies, params.near_duplicates, homes),
        "patients": len(np.unique(patients)),
        "respelled_patients": len(spelled) - len(set(map(person, spelled))),
        "merged_values": {},
        "published_splits": published,
        "leaks": leaks(images, assigned),
        "splits": {name: summary(images, assigned[name]) for name in SPLITS},
    }
    return Curated(images, assigned, audit, copies.pairs)
