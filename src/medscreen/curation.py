"""Records -> readable, deduplicated, patient-safe splits, and the audit of all that was dropped."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medscreen.errors import MedscreenError
from medscreen.images import SPLITS, ImageSet, Pixels, image_digest
from medscreen.ingestion import UnreadableImageError, read_grey, to_square
from medscreen.params import CurationParams
from medscreen.processes import worker_pool
from medscreen.sources import Record

_CHUNK = 32  # records that a worker takes at a time


@dataclass(frozen=True)
class Curated:
    """All readable images (mem-mapped), which of them each split holds, and the audit for curation.json."""

    images: ImageSet
    splits: dict[str, NDArray[np.int64]]
    audit: dict[str, Any]

    def split(self, name: str) -> ImageSet:
        """One split, copied into memory."""
        return self.images.take(self.splits[name])


@dataclass
class _Readable:
    """Records whose image was read, and the digest of each image; their pixels are in the same order."""

    records: list[Record] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)


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
    pixels, readable, quarantine = _decode(records, size, workers, scratch, on_record)
    if not readable.records:
        reason = quarantine[0]["reason"] if quarantine else "there is no record"
        raise MedscreenError(f"None of the {len(records)} images can be read (first reason: {reason}).")
    patients = _patients(readable)
    kept, copies = _drop_copies(readable)
    assigned = _published(readable, kept, patients, params, seed)
    if assigned is None:
        assigned = _split_by_patient(readable, kept, patients, params, seed)
    images = ImageSet(
        pixels,
        np.array([record.label for record in readable.records]),
        patients,
        [record.origin for record in readable.records],
        _traits(readable.records),
    )
    for name, positions in assigned.items():
        _require_both_classes(name, images.labels[positions])
    audit = {
        "records": len(records),
        "readable": len(readable.records),
        "quarantined": quarantine,
        "exact_copies": copies,
        "patients": len(set(patients.tolist())),
        "respelled_patients": len({record.patient for record in readable.records if record.patient})
        - len({_owner(record) for record in readable.records if record.patient}),
        "splits": {name: _summary(images, assigned[name]) for name in SPLITS},
    }
    return Curated(images, assigned, audit)


def _decode(
    records: Sequence[Record], size: int, workers: int, scratch: Path, on_record: Callable[[], None]
) -> tuple[Pixels, _Readable, list[dict[str, str]]]:
    pixels = open_memmap(scratch, mode="w+", dtype=np.uint8, shape=(len(records), size, size))
    readable, quarantine = _Readable(), []
    for record, outcome in zip(records, _decoded(records, size, workers), strict=True):
        on_record()
        if isinstance(outcome, str):
            quarantine.append({"file": record.origin, "reason": outcome})
            continue
        pixels[len(readable.records)], digest = outcome
        readable.records.append(record)
        readable.digests.append(digest)
    return pixels[: len(readable.records)], readable, quarantine


def _decoded(records: Sequence[Record], size: int, workers: int) -> Iterator[tuple[NDArray[np.uint8], str] | str]:
    images = [record.image for record in records]
    if all(isinstance(image, np.ndarray) for image in images):  # nothing to decode: a process would only copy
        yield from (_decode_one(image, size) for image in images)
        return
    with worker_pool(workers) as pool:
        yield from pool.map(_decode_one, images, [size] * len(images), chunksize=_CHUNK)


def _decode_one(image: "Path | NDArray[np.uint8]", size: int) -> tuple[NDArray[np.uint8], str] | str:
    """The square image and the digest of its full-size pixels, or the reason why there is none."""
    try:
        grey = read_grey(image) if isinstance(image, Path) else image
        return to_square(grey, size), image_digest(grey)
    except UnreadableImageError as error:
        return str(error)


def _patients(readable: _Readable) -> NDArray[np.int64]:
    """A number for each image's patient, in order of first appearance; sharing an image makes two one."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    first_owner: dict[str, str] = {}
    published = any(record.split for record in readable.records)
    for record, digest in zip(readable.records, readable.digests, strict=True):
        owner = first_owner.setdefault(digest, _owner(record))
        if not published and root(_owner(record)) != root(owner):
            parent[root(_owner(record))] = root(owner)
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(root(_owner(record)), len(numbers)) for record in readable.records])


def _owner(record: Record) -> str:
    """Whose image it is; of an image whose patient is not known, the image itself."""
    return f"image {record.origin}" if record.patient is None else f"person {person(record.patient)}"


def person(spelled: str) -> str:
    """A patient's identifier without what spellings of it differ in: case, and which separators it has.

    "P-00012", "p_00012" and " P 00012" are one; "P00012" is another, so that "1-11" and "11-1" stay two.
    """
    letters = unicodedata.normalize("NFKC", spelled).casefold()
    # letters, their marks and numbers stay (a vowel sign of Devanagari is a mark); what has no width goes
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in letters if unicodedata.category(c) != "Cf")
    return "-".join("".join(kept).split()) or spelled


def _drop_copies(readable: _Readable) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The positions that stay, and what was found of copies.

    `within`: copies of an image that its own split holds already; `across`: images that two splits share.
    """
    groups: dict[str, list[int]] = {}
    for position, digest in enumerate(readable.digests):
        groups.setdefault(digest, []).append(position)
    within: Counter[str] = Counter()
    across: Counter[str] = Counter()
    stay, conflicting = [], []
    for group in groups.values():
        records = [readable.records[i] for i in group]
        if len({record.label for record in records}) > 1:
            conflicting.append([record.origin for record in records])
        splits = Counter(record.split or "unsplit" for record in records)
        within.update({name: number - 1 for name, number in splits.items() if number > 1})
        across.update(f"{a}+{b}" for a, b in combinations(sorted(splits), 2))
        published = [i for i in group if readable.records[i].split in {"val", "test"}]
        stay += published or group[:1]
    return np.array(sorted(stay)), {
        "policy": "the first copy stays with its label; published val and test keep theirs, train loses those",
        "within": dict(sorted(within.items())),
        "across": dict(sorted(across.items())),
        "dropped": len(readable.records) - len(stay),
        "conflicting_labels": conflicting,
    }


def _published(
    readable: _Readable,
    kept: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> dict[str, NDArray[np.int64]] | None:
    """Published splits, with `tune` cut from train; None where the source publishes none."""
    names = np.array([readable.records[i].split or "" for i in kept])
    if not names.all():
        return None
    train = kept[names == "train"]
    train, tune = _cut(readable, train, patients, params.tune_fraction, seed)
    return {"train": train, "tune": tune, "val": kept[names == "val"], "test": kept[names == "test"]}


def _split_by_patient(
    readable: _Readable,
    kept: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    rest, test = _cut(readable, kept, patients, params.test_fraction, seed)
    rest, val = _cut(readable, rest, patients, params.val_fraction / (1 - params.test_fraction), seed + 1)
    remaining = 1 - params.test_fraction - params.val_fraction
    train, tune = _cut(readable, rest, patients, params.tune_fraction / remaining, seed + 2)
    return {"train": train, "tune": tune, "val": val, "test": test}


def _cut(
    readable: _Readable,
    positions: NDArray[np.int64],
    patients: NDArray[np.int64],
    fraction: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cuts about that fraction of patients off, stratified by whether they have an abnormal image."""
    from sklearn.model_selection import train_test_split

    labels = np.array([readable.records[i].label for i in positions])
    people, person_of = np.unique(patients[positions], return_inverse=True)
    abnormal = np.zeros(len(people), dtype=np.int64)
    np.maximum.at(abnormal, person_of, labels)
    if min(np.bincount(abnormal, minlength=2)) < 2:
        raise MedscreenError(
            f"The data has {int((abnormal == 0).sum())} normal and {int(abnormal.sum())} abnormal patients; "
            "splitting needs several of both: check the label column, or add images of the other class."
        )
    try:
        stay, cut = train_test_split(people, test_size=fraction, random_state=seed, stratify=abnormal)
    except ValueError as error:
        raise MedscreenError(
            f"{len(people)} patients are too few to cut {fraction:.0%} off ({error}); add images."
        ) from error
    return positions[np.isin(patients[positions], stay)], positions[np.isin(patients[positions], cut)]


def _traits(records: Sequence[Record]) -> dict[str, list[str]]:
    names = sorted({name for record in records for name in record.traits})
    columns = {name: [record.traits.get(name, "") for record in records] for name in names}
    return {"finding": [record.finding for record in records], **columns}


def _require_both_classes(name: str, labels: NDArray[np.int64]) -> None:
    for label, word in ((0, "normal"), (1, "abnormal")):
        if not (labels == label).any():
            raise MedscreenError(
                f"The {name} split has no {word} image; a detector needs both classes to be judged: "
                "check the labels, or add images."
            )


def _summary(images: ImageSet, positions: NDArray[np.int64]) -> dict[str, Any]:
    labels = images.labels[positions]
    return {
        "images": len(positions),
        "normal": int((labels == 0).sum()),
        "abnormal": int((labels == 1).sum()),
        "patients": len(np.unique(images.patients[positions])),
        "mean_grey": round(float(np.mean([images.pixels[i].mean() for i in positions])), 3),
    }
