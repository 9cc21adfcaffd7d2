"""Colours of 16 bits, of which Pillow keeps the upper 8: where 12 are in use, it leaves hardly any light."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from medscreen.ingestion.refusal import UnreadableImageError

_CHANNELS = ("RGB", "RGBX", "RGBA", "RGBa", "LA")  # as Pillow calls them: RGBa's colours are multiplied by alpha
_BITS, _PLANES, _SEPARATE = 258, 284, 2  # tags of TIFF: bits of each channel, how its planes lie; one after the other
_LUMINANCE = (19595, 38470, 7471)  # red, green and blue as Pillow weighs them, of 65,536


def deep_layout(picture: ImageFile.ImageFile) -> str | None:
    """How the file of a picture that is not loaded yet orders channels and bytes, as `RGB;16B`; None for all others.

    Raises UnreadableImageError where its channels are separate planes, which Pillow takes for planes of bytes.
    """
    tags = getattr(picture, "tag_v2", {})
    if len(picture.getbands()) > 1 and tags.get(_PLANES) == _SEPARATE and max(tags.get(_BITS, (8,))) > 8:
        raise UnreadableImageError("its colours have more than 8 bits, in separate planes; save them interleaved")
    if not picture.tile:
        return None
    arguments = picture.tile[0].args
    layout = str(arguments[0] if isinstance(arguments, tuple) else arguments)
    return layout if layout.partition(";")[0] in _CHANNELS and layout[-3:-1] == "16" else None


def deep_luminance(file: BinaryIO, formats: tuple[str, ...], layout: str) -> NDArray[np.uint16]:
    """The luminance (H, W), 0 to 65535, of a picture with that layout; what is transparent lies before black."""
    channels, _, order = layout.partition(";16")
    if channels == "LA":  # its four bytes a pixel are what Pillow calls RGBA
        words = _decoded(file, formats, "RGBA").view(">u2")
        return _before_black(words[..., 0], words[..., 1])
    channels = "RGBA" if channels == "RGBa" else channels
    # whoever takes the bytes of a word in the wrong order keeps the lower one
    upper, lower = order, "L" if order == "B" else "B"
    words = _decoded(file, formats, f"{channels};16{upper}").astype(np.uint16) << 8
    words |= _decoded(file, formats, f"{channels};16{lower}")
    grey = np.full(words.shape[:2], 0x8000, np.uint32)
    for at, weight in enumerate(_LUMINANCE):
        grey += words[..., at] * np.uint32(weight)
    grey >>= 16
    return _before_black(grey, words[..., 3]) if layout.startswith("RGBA") else grey.astype(np.uint16)


def _before_black(grey: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.uint16]:
    product: NDArray[Any] = grey.astype(np.uint32) * alpha
    return ((product + 0x7FFF) // 0xFFFF).astype(np.uint16)


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
