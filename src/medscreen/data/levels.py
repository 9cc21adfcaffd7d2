"""Levels of an image: its distinct values, so that a function of the value is computed once per level."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError

# The display range without a window: extremes are often burned-in marks.
DISPLAY_PERCENTILES = (0.5, 99.5)
_MOST_LEVELS = 2**17  # 16-bit values, signed or not, always fit


@dataclass(frozen=True)
class Levels:
    """The values of an image, and the index of each pixel's value.

    `values` (L,) float64: all values that occur. `index` (H, W): index in `values` of each pixel. `finite` (H, W): mask
    of the pixels that were finite numbers; None: all.
    """

    values: NDArray[np.float64]
    index: NDArray[np.integer[Any]]
    finite: NDArray[np.bool_] | None = None

    def spread(self, padding: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """The display range without a window: percentiles of the pixels, or the extremes if these coincide.

        Pixels of `padding` (H, W), which are not measured values, are left out unless there are no others; so are
        pixels that are not finite.
        """
        if self.finite is not None:
            padding = ~self.finite if padding is None or (padding | ~self.finite).all() else padding | ~self.finite
        order = np.argsort(self.values, kind="stable")
        ranked = self.values[order]
        measured = self.index if padding is None or padding.all() else self.index[~padding]
        up_to = np.cumsum(np.bincount(measured.ravel(), minlength=len(order))[order])
        low, high = (_percentile(ranked, up_to, percentile) for percentile in DISPLAY_PERCENTILES)
        if low == high:
            there = ranked[np.diff(up_to, prepend=0) > 0]
            return float(there[0]), float(there[-1])
        return low, high

    def to_gray(self, shares: NDArray[np.float64]) -> Grey:
        """Gray (H, W) from the display value of each level (L,): 0 or less is black, 1 or more white."""
        table = np.round(shares * 255).clip(0, 255).astype(np.uint8)
        return table.take(self.index)

    def stretched(self, low: float, high: float) -> NDArray[np.float64]:
        """Values (L,) scaled from `low` (0) to `high` (1); all 0 if these are equal or not finite."""
        if not np.isfinite([low, high]).all() or low == high:
            return np.zeros(self.values.shape)
        return (self.values - low) / (high - low)


def levels_of(stored: NDArray[np.generic]) -> Levels:
    """The levels of an image (H, W) of integers or floats.

    An infinite value becomes the nearest finite one, NaN the lowest. Raises UnreadableImageError if none is finite.
    """
    if stored.dtype.kind in "iu" and stored.itemsize <= 4:
        low, high = int(stored.min()), int(stored.max())
        if high - low < _MOST_LEVELS:
            index = np.subtract(stored, low, dtype=np.intp)  # another type would be converted at every lookup
            return Levels(np.arange(low, high + 1, dtype=np.float64), index)
    values = stored.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise UnreadableImageError("none of its values is a finite number")
    low, high = values[finite].min(), values[finite].max()
    values, places = np.unique(np.nan_to_num(values, nan=low, neginf=low, posinf=high), return_inverse=True)
    return Levels(values, places.reshape(stored.shape), None if finite.all() else finite)


def _percentile(ranked: NDArray[np.float64], up_to: NDArray[np.int64], percentile: float) -> float:
    """NumPy's percentile of pixels; up_to[i] of them have one of the i + 1 lowest values."""
    rank = float(up_to[-1] - 1) * (percentile / 100)
    below = int(rank)
    places = (below, min(below + 1, int(up_to[-1]) - 1))
    first, second = (ranked[np.searchsorted(up_to, place, side="right")] for place in places)
    return between(float(first), float(second), rank - below)


def between(first: float, second: float, share: float) -> float:
    """Linear interpolation from `first` (share 0) to `second` (share 1), rounded as NumPy rounds percentiles."""
    rise = second - first
    return first + rise * share if share < 0.5 else second - rise * (1 - share)
