"""Luminance of 16-bit PNG: Pillow keeps the upper 8 bits, in which 12-bit values are almost black."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

CHANNELS = {"RGB;16B": "RGB", "RGBA;16B": "RGBA", "LA;16B": "LA"}
"""Stored layout -> channels of the PNGs that this module reads."""

MOST_DEEP = 40_000_000
"""Maximum number of pixels of such a PNG: up to three decodings take six seconds and 0.8 GB."""
_WEIGHTS = np.array([19595.0, 38470.0, 7471.0])  # Pillow's weights of red, green and blue, of 65,536
_ROWS_AT_ONCE = 256  # as 64-bit floats, colors take up to eight times the memory


def stored_layout(picture: ImageFile.ImageFile) -> str:
    """Order of channels, bits and bytes of an image that is not loaded yet, in Pillow's terms."""
    if not picture.tile:
        return ""
    arguments = picture.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def deep_luminance(
    file: BinaryIO, formats: tuple[str, ...], channels: str, clear: tuple[int, ...] | None
) -> NDArray[Any]:
    """The luminance (H, W), 0 to 65535, of a PNG with these channels.

    Transparent pixels, by alpha or by the color `clear`, are composited on black.
    """
    if channels == "LA":  # Pillow reads its four bytes per pixel as RGBA
        words = np.moveaxis(_decoded(file, formats, "RGBA").view(">u2"), -1, 0)
        return lit_luminance(words[:1], words[1], 65535)
    # read in the wrong byte order, Pillow keeps the lower byte of a word
    interleaved = _decoded(file, formats, f"{channels};16B").astype(np.uint16) << 8
    interleaved |= _decoded(file, formats, f"{channels};16L")
    words = np.moveaxis(interleaved, -1, 0)
    grey = lit_luminance(words[:3], words[3] if channels == "RGBA" else None, 65535)
    if clear is not None:
        grey[(interleaved == np.array(clear, np.uint16)).all(axis=-1)] = 0
    return grey


def lit_luminance(colours: NDArray[Any], alpha: NDArray[Any] | None, opaque: float, black: float = 0) -> NDArray[Any]:
    """The luminance (H, W) of gray (1, H, W) or RGB (3, H, W), composited on `black`; rounded for integers.

    `alpha` (H, W) is 0 for transparent and `opaque` for opaque pixels; None: all are opaque.
    """
    whole, small = colours.dtype.kind in "iu", colours.dtype.kind == "u" and colours.itemsize <= 2
    grey = np.empty(colours.shape[1:], np.uint16 if small else np.float64)
    for start in range(0, len(grey), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        parts = colours[:, rows].astype(np.float64)
        light = parts[0] if len(parts) == 1 else np.tensordot(_WEIGHTS, parts, 1) / 65536
        light = np.floor(light + 0.5) if whole else light
        if alpha is not None:
            light = (light - black) * (alpha[rows].astype(np.float64) / opaque).clip(0, 1) + black
        grey[rows] = np.floor(light + 0.5) if whole else light
    return grey


def _decoded(file: BinaryIO, formats: tuple[str, ...], layout: str) -> NDArray[np.uint8]:
    """Bytes (H, W, channels) of a file, decoded as if it had this layout; one byte per channel."""
    file.seek(0)
    with Image.open(file, formats=formats) as picture:
        picture.tile = [
            tile._replace(args=(layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout)
            for tile in picture.tile
        ]
        picture.load()
        return np.asarray(picture)
