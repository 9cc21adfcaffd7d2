"""What is told of the splits."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.images import SPLITS, ImageSet


def summary(images: ImageSet, positions: NDArray[np.int64]) -> dict[str, Any]:
    """Counts of a split, and its mean grey level, 0 to 255."""
    labels = images.labels[positions]
    return {
        "images": len(positions),
        "normal": int((labels == 0).sum()),
        "abnormal": int((labels == 1).sum()),
        "patients": len(np.unique(images.patients[positions])),
        "mean_grey": round(float(np.mean([images.pixels[i].mean() for i in positions])), 3),
    }


def leaks(images: ImageSet, splits: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """What two splits share, for each pair that shares anything: "train+val" -> images, patients, exact_copies.

    `images`: those of the later split that are in the earlier one or whose patient is; `patients`: how many people
    that are; `exact_copies`: the images that are in both. Published splits may; what is cut here never does.
    """
    found = {}
    digests = {name: {images.digests[i] for i in positions} for name, positions in splits.items()}
    for first, second in combinations(SPLITS, 2):
        shared = set(images.patients[splits[first]].tolist()) & set(images.patients[splits[second]].tolist())
        copies = digests[first] & digests[second]
        leaked = sum(int(images.patients[i]) in shared or images.digests[i] in copies for i in splits[second])
        if leaked:
            found[f"{first}+{second}"] = {"images": leaked, "patients": len(shared), "exact_copies": len(copies)}
    return found
