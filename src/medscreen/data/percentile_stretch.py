"""Percentile stretch of images with more than 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.levels import DISPLAY_PERCENTILES, between

_AT_ONCE = 1 << 20  # values converted to 64-bit floats at a time: all of a large film would take gigabytes


def stretched(values: NDArray[Any]) -> Grey:
    """Integers or floats (H, W) as gray, stretched between percentiles, or between extremes if these coincide.

    An infinite value counts as the nearest finite one, NaN as the lowest. Needs the memory of one copy of `values`.
    Raises UnreadableImageError if no value is finite.
    """
    flat = values.ravel()
    ranked = flat.copy()
    ends = _make_finite(ranked)
    places = [(len(ranked) - 1) * (percentile / 100) for percentile in DISPLAY_PERCENTILES]
    ranks = sorted({min(int(place) + more, len(ranked) - 1) for place in places for more in (0, 1)})
    ranked.partition(ranks)
    low, high = (_between(ranked, place) for place in places)
    if low == high:
        low, high = float(ranked.min()), float(ranked.max())
    del ranked
    grey = np.zeros(flat.shape, np.uint8)
    if low < high:
        for start in range(0, len(flat), _AT_ONCE):
            chunk = flat[start : start + _AT_ONCE].astype(np.float64)
            _make_finite(chunk, ends)
            # halved, as high - low may exceed the largest float
            shares = (chunk / 2 - low / 2) / (high / 2 - low / 2)
            grey[start : start + _AT_ONCE] = np.round(shares * 255).clip(0, 255)
    return grey.reshape(values.shape)


def _make_finite(flat: NDArray[Any], ends: tuple[float, float] | None = None) -> tuple[float, float] | None:
    """Replaces non-finite values in place by `ends`, else by the finite extremes. Returns the ends, None if unused."""
    if flat.dtype.kind != "f":
        return None
    finite = np.isfinite(flat)
    if finite.all():
        return ends
    if ends is None:
        if not finite.any():
            raise UnreadableImageError("none of its values is a finite number")
        ends = float(flat.min(where=finite, initial=np.inf)), float(flat.max(where=finite, initial=-np.inf))
    low, high = ends
    np.nan_to_num(flat, copy=False, nan=low, posinf=high, neginf=low)
    return ends


def _between(ranked: NDArray[Any], place: float) -> float:
    """The value at a fractional rank."""
    below = int(place)
    return between(float(ranked[below]), float(ranked[min(below + 1, len(ranked) - 1)]), place - below)
