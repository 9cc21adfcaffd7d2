"""Domain check: distance of an image from the training images, with a conformal threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.01
"""Maximum share of in-domain images that are called out of domain."""

_MOST_AXES = 128  # the other directions of wide vectors share one variance, which keeps the matrix in the package small
_LEAST, _NOTHING = 1e-3, 1e-6  # keep the spread above 0 where all training images are equal
_ROUNDING = 1e-3  # relative margin of the threshold, so that the order of 32-bit sums does not change decisions


@dataclass(frozen=True)
class Distance:
    """Squared Mahalanobis distance of vectors (N, D) from the mean of the training images' vectors.

    Lee et al. 2018 (arXiv 1807.03888), with one covariance for all classes. `mean`, `spread` (D,): scaling of the
    columns. `axes` (D, K): principal axes of the largest variances. `precisions` (K,): inverse variances along the
    axes. `rest`: inverse mean variance of the remaining directions.
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
    """Fits the distance to vectors (N, D), with the covariance shrunk toward a multiple of the identity.

    Oracle approximating shrinkage (OAS): Chen, Wiesel, Eldar, Hero 2010 (doi 10.1109/TSP.2010.2053029), equation 23.
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
    """Threshold of the distance that an in-domain image of a new patient exceeds with probability <= `level`.

    Images with a conformal p-value <= `level` are out of domain. The p-value of a distance d is (1 + sum over the K
    patients of the share of their images with distance >= d) / (K + 1): Vovk, Gammerman, Shafer 2005, section 2.2; for
    several images a patient Lee, Barber, Willett 2023 (arXiv 2306.06342). Patients are assumed exchangeable. With fewer
    than 1 / `level` - 1 patients the threshold is the largest distance; see `guaranteed`.
    """
    _, inverse, images = np.unique(patients, return_inverse=True, return_counts=True)
    farthest_first = np.argsort(-distances, kind="stable")
    at_or_beyond = np.cumsum(1 / images[inverse[farthest_first]])
    # tolerance for rounding: three thirds may sum to less than 1
    inside = (1 + at_or_beyond) / (len(images) + 1) > level * (1 + 1e-9)
    return float(distances[farthest_first[np.argmax(inside)]]) * (1 + _ROUNDING)


def guaranteed(patients: int, level: float) -> float:
    """Guaranteed bound on the out-of-domain share: `level`, or 1 / (K + 1) for too few patients K."""
    return max(level, 1 / (patients + 1))
