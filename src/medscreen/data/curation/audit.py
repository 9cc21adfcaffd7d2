"""Audit of the splits: counts, labels and leaks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.images import FINDING, SPLITS, ImageSet, in_chunks

_QUANTILES = (0.05, 0.5, 0.95)
_MOST_LABELS = 50  # a data set of 14 findings has hundreds of their combinations


def summary(images: ImageSet, positions: NDArray[np.int64]) -> dict[str, Any]:
    """Counts of a split, and its gray levels, 0 to 255.

    `mean_grey`, `contrast`: the mean over images of an image's mean and standard deviation. `brightness`: quantiles
    of the images' means.
    """
    labels = images.labels[positions]
    chunks = in_chunks(images.pixels, positions)
    levels = [(c.mean((1, 2), dtype=np.float64), c.std((1, 2), dtype=np.float64)) for c in chunks]
    means, deviations = np.concatenate(levels, axis=1)
    return {
        "images": len(positions),
        "normal": int((labels == 0).sum()),
        "abnormal": int((labels == 1).sum()),
        "patients": len(np.unique(images.patients[positions])),
        "mean_grey": round(float(means.mean()), 3),
        "contrast": round(float(deviations.mean()), 3),
        "brightness": {f"q{100 * q:02.0f}": round(float(np.quantile(means, q)), 3) for q in _QUANTILES},
    }


def labels_taken(sets: Sequence[ImageSet]) -> list[dict[str, Any]]:
    """The labels of the source, the class and number of images of each: normal ones first, then by number.

    Labels of a class beyond the first fifty are one entry. In data that is not public, rare values have to be merged
    first.
    """
    listed = []
    for label, word in enumerate(("normal", "abnormal")):
        found = Counter(f for s in sets for f, k in zip(s.attributes[FINDING], s.labels, strict=True) if k == label)
        ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
        if more := ordered[_MOST_LABELS:]:
            ordered[_MOST_LABELS:] = [(f"{len(more)} more", sum(number for _, number in more))]
        listed += [{"label": name, "taken_as": word, "images": number} for name, number in ordered]
    return listed


def leaks(images: ImageSet, splits: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    """Leaks between splits: "train+val" -> numbers of images, patients, exact_duplicates; only pairs that share any.

    `images`: images of the later split that are in the earlier one, or whose patient is; `patients`: patients in both;
    `exact_duplicates`: images in both. Published splits may have leaks; splits that are cut here have none.
    """
    found = {}
    _, kind = np.unique(np.array(images.digests, np.bytes_), return_inverse=True)
    for first, second in combinations(SPLITS, 2):
        one, other = splits[first], splits[second]
        patients = np.intersect1d(images.patients[one], images.patients[other])
        copies = np.intersect1d(kind[one], kind[other])
        leaked = int((np.isin(images.patients[other], patients) | np.isin(kind[other], copies)).sum())
        if leaked:
            found[f"{first}+{second}"] = {"images": leaked, "patients": len(patients), "exact_duplicates": len(copies)}
    return found
