"""Exact duplicates (equal decoded pixels) and near duplicates of images, treated by the policies."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import CurationParams, DuplicatePolicy
from medscreen.data.curation.decoding import Decoded
from medscreen.data.curation.near_duplicates import Pair, near_duplicate_pairs
from medscreen.data.images import SPLITS, Pixels
from medscreen.data.sources.records import Record
from medscreen.errors import MedscreenError

_JOINING = ("drop", "keep_together")  # policies that treat the owners of duplicates as one patient
_PUBLISHED = ("val", "test")  # splits from which nothing is removed
_LISTED = 200  # pairs, and groups of equal images, that the audit lists


@dataclass(frozen=True)
class Duplicates:
    """Positions, among the readable images, of exact duplicates (`groups`), near ones (`pairs`) and kept images."""

    groups: list[list[int]]
    pairs: list[Pair]
    without_exact: NDArray[np.int64]
    kept: NDArray[np.int64]
    of_one_patient: list[Sequence[int]]


def find_duplicates(
    pixels: Pixels, images: Sequence[Decoded], params: CurationParams, workers: int, scratch: Path
) -> Duplicates:
    """Duplicates among the images, treated by the policies; raises MedscreenError for any where a policy is `fail`.

    `scratch`: temporary file for the textures that are compared.
    """
    splits = [image.record.split for image in images]
    groups = _groups(image.digest for image in images)
    number = sum(map(len, groups)) - len(groups)
    _require_none(params.exact_duplicates, "exact", f"{number} images are exact duplicates of others" if number else "")
    staying = staying_duplicates(splits, groups)
    every = np.arange(len(splits))
    unique = np.setdiff1d(every, _joined(groups))
    without_exact = np.union1d(unique, _joined(staying)) if params.exact_duplicates == "drop" else every
    different = np.union1d(unique, _joined(group[:1] for group in staying))
    pairs = _of_every_copy(near_duplicate_pairs(pixels, different, workers, scratch), groups, without_exact)
    _require_none(params.near_duplicates, "near", f"{len(pairs)} pairs of images are near duplicates" if pairs else "")
    kept = drop_near_duplicates(splits, without_exact, pairs) if params.near_duplicates == "drop" else without_exact
    of_one_patient: list[Sequence[int]] = [*groups] if params.exact_duplicates in _JOINING else []
    if params.near_duplicates in _JOINING:
        of_one_patient += [pair[:2] for pair in pairs]
    return Duplicates(groups, pairs, without_exact, kept, of_one_patient)


def staying_duplicates(splits: Sequence[str | None], groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """The images of each group of equal ones that `drop` keeps: all in published val and test, else the first."""
    return [[i for i in group if splits[i] in _PUBLISHED] or [group[0]] for group in groups]


def drop_near_duplicates(
    splits: Sequence[str | None], kept: NDArray[np.int64], pairs: Iterable[Pair]
) -> NDArray[np.int64]:
    """The positions of `kept` without near duplicates of a kept image that is earlier, or published."""
    neighbors: dict[int, list[int]] = {}
    staying = set(kept.tolist())
    for a, b, _ in pairs:
        neighbors.setdefault(a, []).append(b)
        neighbors.setdefault(b, []).append(a)
    published = {i for i in neighbors if splits[i] in _PUBLISHED}
    for image in sorted(set(neighbors) - published):
        if any(other in staying and (other in published or other < image) for other in neighbors[image]):
            staying.discard(image)
    return np.array(sorted(staying), dtype=np.int64)


def exact_duplicates_audit(records: Sequence[Record], copies: Duplicates, policy: DuplicatePolicy) -> dict[str, Any]:
    """Audit of the exact duplicates: counts within and across the published splits, files, conflicting labels."""
    within, across = Counter[str](), Counter[str]()
    for group in copies.groups:
        splits = Counter(records[i].split or "unsplit" for i in group)
        within += splits - Counter(set(splits))
        across.update(f"{a}+{b}" for a, b in combinations(sorted(splits), 2))
    files = [{"files": [records[i].origin for i in group]} for group in copies.groups]
    rivals = [len({records[i].label for i in group}) > 1 for group in copies.groups]
    return {
        "policy": policy,
        "within": dict(sorted(within.items())),
        "across": dict(sorted(across.items())),
        "dropped": len(records) - len(copies.without_exact),
        "conflicting_labels": [named for named, rival in zip(files, rivals, strict=True) if rival],
        "listed": files[:_LISTED],
    }


def near_duplicates_audit(
    records: Sequence[Record], copies: Duplicates, policy: DuplicatePolicy, homes: dict[int, str]
) -> dict[str, Any]:
    """Audit of the near duplicates: pairs within and across the published splits, and across the current ones.

    `homes`: position -> current split. `shared`: pairs that two current splits share.
    """
    both = [pair[:2] for pair in copies.pairs]
    published = [[records[i].split or "unsplit" for i in pair] for pair in both]
    now = [[homes.get(i, "dropped") for i in pair] for pair in both]
    return {
        "policy": policy,
        "pairs": len(both),
        "images": len({i for pair in both for i in pair}),
        "within": dict(sorted(Counter(a for a, b in published if a == b).items())),
        "across": _between(published, ("test", "train", "val")),
        "shared": _between(now, SPLITS),
        "dropped": len(copies.without_exact) - len(copies.kept),
        "conflicting_labels": sum(records[a].label != records[b].label for a, b in both),
        "listed": [
            {
                "files": [records[pair.first].origin, records[pair.second].origin],
                "splits": splits,
                "correlation": round(pair.correlation, 3),
            }
            for pair, splits in zip(copies.pairs[:_LISTED], now, strict=False)
        ],
    }


def _groups(digests: Iterable[str]) -> list[list[int]]:
    """Groups of positions of images that occur more than once, in order."""
    by_digest: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        by_digest.setdefault(digest, []).append(position)
    return [group for group in by_digest.values() if len(group) > 1]


def _of_every_copy(pairs: list[Pair], groups: Sequence[Sequence[int]], staying: NDArray[np.int64]) -> list[Pair]:
    """Near duplicates among the images at `staying`; exact duplicates of an image have the same near duplicates."""
    there = set(staying.tolist())
    equal = {i: [j for j in group if j in there] for group in groups for i in group}
    found = [
        Pair(min(a, b), max(a, b), correlation)
        for first, second, correlation in pairs
        for a in equal.get(first, [first])
        for b in equal.get(second, [second])
    ]
    return sorted(found, key=lambda pair: (-pair.correlation, pair))


def _require_none(policy: DuplicatePolicy, kind: str, found: str) -> None:
    if found and policy == "fail":
        # file names may identify patients: they are written to data/, and never printed or logged
        raise MedscreenError(
            f"{found}, and params.yaml has curation.{kind}_duplicates: fail. Set it to report, which lists them in "
            "data/curation.json, and remove them from the data, or set it to drop or keep_together."
        )


def _joined(groups: Iterable[Sequence[int]]) -> NDArray[np.int64]:
    return np.array([i for group in groups for i in group], dtype=np.int64)


def _between(pairs: Iterable[Collection[str]], order: Sequence[str]) -> dict[str, int]:
    """Pair of splits -> how many pairs of images have one in each."""
    counts = Counter("+".join(sorted(pair, key=order.index)) for pair in pairs if set(pair) <= set(order))
    return {name: number for name, number in sorted(counts.items()) if len(set(name.split("+"))) > 1}
