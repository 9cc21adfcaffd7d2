"""Domain check: distance of an image from the training images, with a conformal threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.01
"""The share of images like the training images that may be called outside their domain."""

_MOST_AXES = 128  # of wide vectors the other directions share one variance; the matrix stays small in the package
_LEAST, _NOTHING = 1e-3, 1e-6  # keep the spread above 0 where all training images are alike
_ROUNDING = 1e-3  # of the threshold; sums of 32 bits in another order must not move an image across it


@dataclass(frozen=True)
class Distance:
    """Squared Mahalanobis distance of vectors (N, D) from the mean of the training images' vectors.

    Lee et al. 2018 (arXiv 1807.03888), with one covariance for all classes. `mean` and `spread` (D,) scale each column.
    `axes` (D, K) are the directions of the largest variances, whose inverses are `precisions` (K,); what the axes do
    not span counts by `rest`, the inverse of the mean of the other variances.
    """

    mean: Floats
    spread: Floats
    axes: Floats
    precisions: Floats
    rest: float

    def __call__(self, vectors: Floats) -> Floats:
        """Distances (N,) of vectors (N, D)."""
        scaled = (vectors - self.mean) / self.spread
        along = scaled @ self.axes
        across = scaled - along @ self.axes.T
        distances: Floats = (along**2 * self.precisions).sum(1) + self.rest * (across**2).sum(1)
        return distances


def learn_distance(vectors: Floats) -> Distance:
    """The distance from these vectors (N, D), whose covariance is shrunk towards a multiple of the identity.

    Oracle approximating shrinkage: Chen, Wiesel, Eldar, Hero 2010 (doi 10.1109/TSP.2010.2053029), equation 23.
    """
    number, width = vectors.shape
    deviation = vectors.std(0)
    mean, spread = vectors.mean(0), deviation + _LEAST * deviation.mean() + _NOTHING
    _, lengths, rows = np.linalg.svd((vectors - mean) / spread, full_matrices=False)
    variances = lengths**2 / number
    trace, squares = variances.sum(), (variances**2).sum()
    spherical = (number + 1 - 2 / width) * (squares - trace**2 / width)
    shrinkage = min(1.0, ((1 - 2 / width) * squares + trace**2) / spherical) if spherical > 0 else 1.0
    kept = min(_MOST_AXES, len(variances))
    shrunk = (1 - shrinkage) * variances[:kept] + shrinkage * trace / width + _NOTHING
    left = max(float(trace + _NOTHING * width - shrunk.sum()), 0.0)
    rest = (width - kept) / max(left, _NOTHING) if kept < width else 0.0
    return Distance(mean, spread, rows[:kept].T, 1 / shrunk, rest)


def conformal_threshold(distances: Floats, patients: NDArray[np.int64], level: float) -> float:
    """The distance beyond which an image is outside, so that a new patient's image is with probability <= `level`.

    The conformal p-value of a distance d is (1 + sum over the K patients of the share of their images that lie at d or
    beyond) / (K + 1), and images with p <= `level` are outside: Vovk, Gammerman, Shafer 2005, section 2.2; with
    patients of several images Lee, Barber, Willett 2023 (arXiv 2306.06342). It takes patients as exchangeable. With
    fewer than 1 / `level` - 1 patients it is the largest distance, see `guaranteed`.
    """
    _, inverse, images = np.unique(patients, return_inverse=True, return_counts=True)
    farthest_first = np.argsort(-distances, kind="stable")
    at_or_beyond = np.cumsum(1 / images[inverse[farthest_first]])
    # a sum of thirds may fall short of the whole number that it is
    inside = (1 + at_or_beyond) / (len(images) + 1) > level * (1 + 1e-9)
    return float(distances[farthest_first[np.argmax(inside)]]) * (1 + _ROUNDING)


def guaranteed(patients: int, level: float) -> float:
    """The most that `conformal_threshold` promises to be outside: `level`, or 1 / (K + 1) of too few patients K."""
    return max(level, 1 / (patients + 1))
