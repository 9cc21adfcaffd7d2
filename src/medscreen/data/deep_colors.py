"""Colours of 16 bits, of which Pillow keeps the upper 8: where 12 are in use, it leaves hardly any light."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

CHANNELS = {"RGB;16B": "RGB", "RGBA;16B": "RGBA", "LA;16B": "LA"}
"""Stored layout -> channels of the PNGs that this is about."""

MOST_DEEP = 40_000_000
"""Pixels of such a picture: it is decoded up to three times, which takes six seconds and 0.8 GB."""
_WEIGHTS = np.array([19595.0, 38470.0, 7471.0])  # red, green and blue as Pillow weighs them, of 65,536
_ROWS_AT_ONCE = 256  # as floats of 64 bits, colours take up to eight times their room


def stored_layout(picture: ImageFile.ImageFile) -> str:
    """Order of channels, bits and bytes of a picture that is not loaded yet, in Pillow's terms."""
    if not picture.tile:
        return ""
    arguments = picture.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def deep_luminance(
    file: BinaryIO, formats: tuple[str, ...], channels: str, clear: tuple[int, ...] | None
) -> NDArray[Any]:
    """The luminance (H, W), 0 to 65535, of a PNG with those channels.

    What is transparent, by its alpha or as the color `clear`, lies before black.
    """
    if channels == "LA":  # its four bytes a pixel are what Pillow calls RGBA
        words = np.moveaxis(_decoded(file, formats, "RGBA").view(">u2"), -1, 0)
        return lit_luminance(words[:1], words[1], 65535)
    # whoever takes the bytes of a word in the wrong order keeps the lower one
    interleaved = _decoded(file, formats, f"{channels};16B").astype(np.uint16) << 8
    interleaved |= _decoded(file, formats, f"{channels};16L")
    words = np.moveaxis(interleaved, -1, 0)
    grey = lit_luminance(words[:3], words[3] if channels == "RGBA" else None, 65535)
    if clear is not None:
        grey[(interleaved == np.array(clear, np.uint16)).all(axis=-1)] = 0
    return grey


def lit_luminance(colours: NDArray[Any], alpha: NDArray[Any] | None, opaque: float, black: float = 0) -> NDArray[Any]:
    """The luminance (H, W) of grey (1, H, W) or of red, green and blue (3, H, W), rounded where these are integers.

    Where `alpha` (H, W) is `opaque` it stays as it is, where that is 0 it becomes `black`.
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
    """One byte a channel, (H, W, channels), of a file read as if its words were laid out so."""
    file.seek(0)
    with Image.open(file, formats=formats) as picture:
        picture.tile = [
            tile._replace(args=(layout, *tile.args[1:]) if isinstance(tile.args, tuple) else layout)
            for tile in picture.tile
        ]
        picture.load()
        return np.asarray(picture)
