"""What is told of the splits."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.images import SPLITS, ImageSet, Pixels, in_chunks

_QUANTILES = (0.05, 0.5, 0.95)


def summary(images: ImageSet, positions: NDArray[np.int64]) -> dict[str, Any]:
    """Counts of a split, and its grey levels, 0 to 255.

    `mean_grey`, `contrast`: the mean over images of an image's mean and standard deviation. `brightness`: quantiles
    of the images' means.
    """
    labels = images.labels[positions]
    means, deviations = np.concatenate([_levels(chunk) for chunk in in_chunks(images.pixels, positions)]).T
    return {
        "images": len(positions),
        "normal": int((labels == 0).sum()),
        "abnormal": int((labels == 1).sum()),
        "patients": len(np.unique(images.patients[positions])),
        "mean_grey": round(float(means.mean()), 3),
        "contrast": round(float(deviations.mean()), 3),
        "brightness": {f"q{100 * q:02.0f}": round(float(np.quantile(means, q)), 3) for q in _QUANTILES},
    }


def _levels(pixels: Pixels) -> NDArray[np.float64]:
    return np.column_stack([pixels.mean((1, 2), dtype=np.float64), pixels.std((1, 2), dtype=np.float64)])


def leaks(images: ImageSet, splits: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """What two splits share, for each pair that shares anything: "train+val" -> images, patients, exact_copies.

    `images`: those of the later split that are in the earlier one or whose patient is; `patients`: how many people
    that are; `exact_copies`: the images that are in both. Published splits may; what is cut here never does.
    """
    found = {}
    _, kind = np.unique(np.array(images.digests, np.bytes_), return_inverse=True)
    for first, second in combinations(SPLITS, 2):
        one, other = splits[first], splits[second]
        patients = np.intersect1d(images.patients[one], images.patients[other])
        copies = np.intersect1d(kind[one], kind[other])
        leaked = int((np.isin(images.patients[other], patients) | np.isin(kind[other], copies)).sum())
        if leaked:
            found[f"{first}+{second}"] = {"images": leaked, "patients": len(patients), "exact_copies": len(copies)}
    return found
