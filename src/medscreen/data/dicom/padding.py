"""Padding: pixels outside the measured area (PS3.3 C.7.5.1.1.2 and C.7.6.24)."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.dicom.headers import Header

# chosen on discs of waves and noise in padding, compressed by JPEG and JPEG 2000 at many ratios: docs/log.md
_REACH = 17  # pixels: the side of the square in which lossy coding may smear an edge
_SHARE = 0.15  # of that square: with more padding in it, a pixel may be smeared padding
_NEAR = 1 / 32  # of the range of all values: closer values may be padding
_BOTH_SIDES = 0.05  # of the pixels outside padding
_ENDS = ("Value", "RangeLimit")


def padding(stored: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    """Mask (H, W) of the padding; None if the file states no padding value.

    Lossy coding changes padding values and smears edges: pixels around padding are then included.
    """
    limits = _limits(stored, header)
    if limits is None:
        return None
    low, high = limits
    near = header.coding_error
    if not math.isfinite(near):
        near = (float(stored.max()) - float(stored.min())) * _NEAR
    found: NDArray[np.bool_] = (stored >= low - near) & (stored <= high + near)
    if math.isfinite(header.coding_error) or _is_between(stored, found, low):
        return found
    from scipy.ndimage import uniform_filter  # 0.1 s

    smeared: NDArray[np.bool_] = uniform_filter(found.astype(np.float32), _REACH, mode="nearest") > _SHARE
    return found | smeared


def _is_between(stored: NDArray[Any], found: NDArray[np.bool_], padded: float) -> bool:
    """True if many values are above and below padding, so that smeared edges are not extremes of measured values."""
    others = stored[~found]
    below = np.count_nonzero(others < padded)
    return bool(min(below, others.size - below) > _BOTH_SIDES * others.size)


def _limits(stored: NDArray[Any], header: Header) -> tuple[float, float] | None:
    ends: list[float | None]
    if stored.dtype.kind == "f":
        kinds = ("Float", "DoubleFloat") if stored.itemsize == 4 else ("DoubleFloat", "Float")
        kind = next((kind for kind in kinds if header.get(f"{kind}PixelPaddingValue") is not None), None)
        ends = [_float(header, f"{kind}PixelPadding{end}", stored.dtype) if kind else None for end in _ENDS]
    else:
        ends = [_integer(header, f"PixelPadding{end}", stored.dtype) for end in _ENDS]
    first, last = ends
    if first is None:
        return None
    low, high = sorted((first, first if last is None else last))
    return low, high


def _float(header: Header, keyword: str, kind: np.dtype[Any]) -> float | None:
    value = header.get(keyword)
    return float(kind.type(value)) if isinstance(value, int | float) and math.isfinite(value) else None


def _integer(header: Header, keyword: str, kind: np.dtype[Any]) -> int | None:
    """The element's value in the type of the pixels; None if it is absent or not a 16-bit word."""
    value = header.get(keyword)
    if isinstance(value, bytes) and len(value) == 2:  # with implicit VR, its VR depends on the pixels
        value = int.from_bytes(value, "little" if header.little_endian else "big")
    if not isinstance(value, int) or not -(2**15) <= value < 2**16:
        return None
    # files may state it as signed for unsigned pixels, the other way round, or with more bits than pixels have
    bits = min(header.bits, 8 * kind.itemsize)
    stored = value % (1 << bits)
    return stored - (1 << bits) if kind.kind == "i" and stored >= 1 << (bits - 1) else stored
