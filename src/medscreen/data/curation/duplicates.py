"""Copies of images, exact (equal decoded pixels) and near ones, and what the policies make of them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import CopyPolicy
from medscreen.data.curation.decoding import Readable
from medscreen.data.curation.near_duplicates import Pairs
from medscreen.data.images import SPLITS
from medscreen.errors import MedscreenError

JOINING = ("drop", "keep_together")  # policies that take the owners of copies for one patient
_PUBLISHED = ("val", "test")  # splits that are never shortened
_LISTED = 200  # pairs, and groups of equal images, that the audit names


def exact_copies(readable: Readable, policy: CopyPolicy) -> list[list[int]]:
    """The positions of images that are there more than once, in order; raises MedscreenError if the policy is fail."""
    by_digest: dict[str, list[int]] = {}
    for position, digest in enumerate(readable.digests):
        by_digest.setdefault(digest, []).append(position)
    groups = [group for group in by_digest.values() if len(group) > 1]
    if groups:
        _require(policy, "exact", f"{sum(map(len, groups)) - len(groups)} images are exact copies of others")
    return groups


def without_exact(readable: Readable, groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """The positions that stay: the first of each group, or all of it that published val and test hold."""
    gone: set[int] = set()
    for group in groups:
        staying = {i for i in group if readable.records[i].split in _PUBLISHED} or {group[0]}
        gone |= set(group) - staying
    return np.array([i for i in range(len(readable.records)) if i not in gone], dtype=np.int64)


def one_of_each(readable: Readable, groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Positions of different images; of exact copies that which published val or test hold, else the first."""
    twice = {i for group in groups for i in group}
    chosen = [next((i for i in group if readable.records[i].split in _PUBLISHED), group[0]) for group in groups]
    return np.array(sorted({*range(len(readable.records))} - twice | set(chosen)), dtype=np.int64)


def of_every_copy(pairs: Pairs, groups: Sequence[Sequence[int]], staying: NDArray[np.int64]) -> Pairs:
    """The near copies among the images at `staying`, from those among different images: exact copies share theirs."""
    if not groups:
        return pairs
    there = set(staying.tolist())
    equal = {i: [j for j in group if j in there] for group in groups for i in group}
    found = sorted(
        (-likeness, min(a, b), max(a, b))
        for (first, second), likeness in zip(pairs.positions(), pairs.correlation.tolist(), strict=True)
        for a in equal.get(first, [first])
        for b in equal.get(second, [second])
    )
    positions = np.array([pair for _, *pair in found], dtype=np.int64).reshape(-1, 2)
    return Pairs(positions[:, 0], positions[:, 1], np.array([-unlikeness for unlikeness, *_ in found]))


def require_no_near(pairs: Pairs, policy: CopyPolicy) -> None:
    """Raises MedscreenError if there are near copies and the policy is fail."""
    if len(pairs):
        _require(policy, "near", f"{len(pairs)} pairs of images are near copies")


def without_near(readable: Readable, kept: NDArray[np.int64], pairs: Pairs) -> NDArray[np.int64]:
    """The positions of `kept` that stay: an image goes if a near copy of it stays that is earlier, or published."""
    neighbours: dict[int, list[int]] = {}
    staying = set(kept.tolist())
    for a, b in pairs.positions():
        if a in staying and b in staying:
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
    published = {i for i in neighbours if readable.records[i].split in _PUBLISHED}
    for image in sorted(set(neighbours) - published):
        if any(other in staying and (other in published or other < image) for other in neighbours[image]):
            staying.remove(image)
    return np.array(sorted(staying), dtype=np.int64)


def _require(policy: CopyPolicy, kind: str, found: str) -> None:
    if policy == "fail":
        # names of files may be patients': they stay in data/, and out of what a terminal or a log shows
        raise MedscreenError(
            f"{found}, and params.yaml says curation.{kind}_copies: fail; set it to report, which names them in "
            "data/curation.json, and remove them from the data, or choose drop or keep_together."
        )


def exact_audit(
    readable: Readable, groups: Sequence[Sequence[int]], policy: CopyPolicy, dropped: int
) -> dict[str, Any]:
    """What was found of exact copies: counts within and across the splits as published, files, and rivalling labels."""
    within: Counter[str] = Counter()
    across: Counter[str] = Counter()
    for group in groups:
        splits = Counter(_split_of(readable, i) for i in group)
        within.update({name: number - 1 for name, number in splits.items() if number > 1})
        across.update(f"{a}+{b}" for a, b in combinations(sorted(splits), 2))
    rivals = [group for group in groups if len({readable.records[i].label for i in group}) > 1]
    return {
        "policy": policy,
        "within": dict(sorted(within.items())),
        "across": dict(sorted(across.items())),
        "dropped": dropped,
        "conflicting_labels": _files(readable, rivals),
        "listed": _files(readable, groups[:_LISTED]),
    }


def _files(readable: Readable, groups: Iterable[Iterable[int]]) -> list[dict[str, list[str]]]:
    return [{"files": [readable.records[i].origin for i in group]} for group in groups]


def near_audit(
    readable: Readable, pairs: Pairs, policy: CopyPolicy, dropped: int, homes: dict[int, str]
) -> dict[str, Any]:
    """What was found of near copies: pairs within and across the splits as published, and in the splits of `homes`.

    `homes`: position -> split that holds it now. `shared`: pairs that two splits share now.
    """
    both = pairs.positions()
    published = [[_split_of(readable, i) for i in pair] for pair in both]
    now = [[homes.get(i, "dropped") for i in pair] for pair in both]
    within = Counter(a for a, b in published if a == b)
    return {
        "policy": policy,
        "pairs": len(pairs),
        "images": len({i for pair in both for i in pair}),
        "within": dict(sorted(within.items())),
        "across": _between(published, ("test", "train", "val")),
        "shared": _between(now, SPLITS),
        "dropped": dropped,
        "conflicting_labels": sum(readable.records[a].label != readable.records[b].label for a, b in both),
        "listed": [
            {
                "files": [readable.records[a].origin, readable.records[b].origin],
                "splits": splits,
                "correlation": round(float(correlation), 3),
            }
            for (a, b), splits, correlation in zip(both[:_LISTED], now, pairs.correlation, strict=False)
        ],
    }


def _between(pairs: Iterable[Collection[str]], order: Sequence[str]) -> dict[str, int]:
    """Pair of splits -> how many pairs of images have one in each."""
    counts = Counter("+".join(sorted(pair, key=order.index)) for pair in pairs if set(pair) <= set(order))
    return {name: number for name, number in sorted(counts.items()) if len(set(name.split("+"))) > 1}


def _split_of(readable: Readable, position: int) -> str:
    return readable.records[position].split or "unsplit"
