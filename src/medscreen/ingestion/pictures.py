"""Pictures that are no DICOM: what Pillow reads, told by content and never by name."""

import re
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from medscreen.ingestion.deep_colours import deep_layout, deep_luminance
from medscreen.ingestion.grey import Grey
from medscreen.ingestion.levels import levels_of
from medscreen.ingestion.refusal import UnreadableImageError, require_size

# Pillow opens more, with an external program (EPS) or formats whose pixels nobody would screen
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_STRANGERS = (  # what a file holds that is none of them, and often called .jpg or .png
    (re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE), "an HTML page, as failed downloads leave"),
    (re.compile(rb"\s*(<\?xml|<svg)", re.IGNORECASE), "XML"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b"), "an archive"),
)
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})  # more than 8 bits of grey
_ORIENTATION, _PHOTOMETRIC = 0x0112, 262  # tags of EXIF and of TIFF
_UPRIGHT = {  # EXIF's orientations, from 2
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture of a kind that is read; nothing is decoded."""
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            Image.open(file, formats=_FORMATS).close()
    except Exception:  # broken files make Pillow raise whatever it likes
        return False
    return True


def read_picture(path: Path) -> Grey:
    """The luminance (H, W) of a picture, upright by its EXIF orientation; of several pictures, the first.

    More than 8 bits span the display from percentile to percentile. What is transparent lies before black.
    Raises UnreadableImageError for whatever can't be decoded whole.
    """
    try:
        # Pillow only warns of a decompression bomb up to twice its limit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # not by name: Pillow maps files into memory, and scrambles rotated TIFFs then
            with path.open("rb") as file, Image.open(file, formats=_FORMATS) as picture:
                require_size(*picture.size)
                layout = deep_layout(picture)
                picture.load()
                values = Image.fromarray(deep_luminance(file, _FORMATS, layout)) if layout else picture
                return _grey(_upright(picture, values))
    except UnidentifiedImageError:
        raise UnreadableImageError(_no_picture(path)) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableImageError("its header promises a decompression bomb: far too many pixels") from None
    except (UnreadableImageError, MemoryError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception:  # broken files make Pillow raise whatever it likes
        raise UnreadableImageError("the picture is damaged or cut short") from None


def _upright(picture: Image.Image, values: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    inverse = picture.mode in _DEEP and getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC) == 0
    turned = values if turn is None else values.transpose(turn)
    turned.info["white is zero"] = inverse  # Pillow inverts such TIFFs of 8 bits, and leaves those of 16
    return turned


def _grey(picture: Image.Image) -> Grey:
    if picture.mode in _DEEP:
        levels = levels_of(np.asarray(picture))
        grey = levels.shown(levels.stretched(*levels.spread()))
        return 255 - grey if picture.info["white is zero"] else grey
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear)
    return np.asarray(picture.convert("RGB").convert("L") if picture.mode not in {"L", "1"} else picture.convert("L"))


def _no_picture(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "the file is empty"
    for pattern, what in _STRANGERS:
        if pattern.match(head.removeprefix(b"\xef\xbb\xbf")):
            return f"the file is no image but {what}"
    return "the file is no image of a kind that is read (DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PPM)"
