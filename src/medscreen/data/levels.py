"""The distinct values of an image: functions of a value alone are computed once for each of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError

# Without a window, the display spans these percentiles: extremes are often burnt-in marks.
DISPLAY_PERCENTILES = (0.5, 99.5)
_MOST_LEVELS = 2**17  # 16-bit values, signed or not, always fit


@dataclass(frozen=True)
class Levels:
    """`values` (L,) float64 hold all that occurs, `index` (H, W) is the place in `values` of each pixel.

    `finite` (H, W): which pixels were finite numbers; None: all of them.
    """

    values: NDArray[np.float64]
    index: NDArray[np.integer[Any]]
    finite: NDArray[np.bool_] | None = None

    def spread(self, padding: NDArray[np.bool_] | None = None) -> tuple[float, float]:
        """The percentiles of the pixels that a display without a window spans; the extremes where they coincide.

        Pixels (H, W) of padding, which stand for no measurement, do not count, unless there is nothing else; nor do
        those that are not finite.
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
        """Grey (H, W), from what each level (L,) is shown as: 0 or less is black, 1 or more white."""
        table = np.round(shares * 255).clip(0, 255).astype(np.uint8)
        return table.take(self.index)

    def stretched(self, low: float, high: float) -> NDArray[np.float64]:
        """The share (L,) of the way from `low` to `high`; 0 where there is none."""
        if not np.isfinite([low, high]).all() or low == high:
            return np.zeros(self.values.shape)
        return (self.values - low) / (high - low)


def levels_of(stored: NDArray[np.generic]) -> Levels:
    """The levels of an image (H, W) of integers or floats; of values that are not finite, the nearest that are.

    Raises UnreadableImageError where no value is a finite number.
    """
    if stored.dtype.kind in "iu" and stored.itemsize <= 4:
        low, high = int(stored.min()), int(stored.max())
        if high - low < _MOST_LEVELS:
            index = np.subtract(stored, low, dtype=np.intp)  # any other kind would be converted to look up the grey
            return Levels(np.arange(low, high + 1, dtype=np.float64), index)
    values = stored.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise UnreadableImageError("none of its values is a finite number")
    low, high = values[finite].min(), values[finite].max()
    values, places = np.unique(np.nan_to_num(values, nan=low, neginf=low, posinf=high), return_inverse=True)
    return Levels(values, places.reshape(stored.shape), None if finite.all() else finite)


def _percentile(ranked: NDArray[np.float64], up_to: NDArray[np.int64], percentile: float) -> float:
    """NumPy's percentile of pixels of which up_to[i] have one of the i + 1 lowest values."""
    rank = float(up_to[-1] - 1) * (percentile / 100)
    below = int(rank)
    places = (below, min(below + 1, int(up_to[-1]) - 1))
    first, second = (ranked[np.searchsorted(up_to, place, side="right")] for place in places)
    return between(float(first), float(second), rank - below)


def between(first: float, second: float, share: float) -> float:
    """The value at a share of the way from the first to the second, rounded as NumPy rounds percentiles."""
    rise = second - first
    return first + rise * share if share < 0.5 else second - rise * (1 - share)
