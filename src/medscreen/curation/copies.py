"""Exact copies: equal decoded pixels."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.curation.readable import Readable


def drop_copies(readable: Readable) -> tuple[NDArray[np.int64], dict[str, Any]]:
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
