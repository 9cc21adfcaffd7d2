"""PNG, JPEG, TIFF and other formats that Pillow reads, recognized by content, not by file name."""

import re
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from medscreen.data.deep_colors import CHANNELS, MOST_DEEP, deep_luminance, stored_layout
from medscreen.data.display import Grey
from medscreen.data.image_errors import MOST_PIXELS, UnreadableImageError, require_size
from medscreen.data.jpeg_scans import require_few_scans
from medscreen.data.library_logging import quiet_stderr, quiet_warnings
from medscreen.data.percentile_stretch import stretched
from medscreen.data.tiff.gray import tiff_grey
from medscreen.data.tiff.pages import MOST_PAGES, FromPage, Page, image_pages, is_tiff, page_at, require_countable
from medscreen.data.tiff.sample_layout import RGB, layout_of

# Pillow opens more formats: some need an external program (EPS), others are not used for medical images
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_STRANGERS = (  # other contents of files that are often named .jpg or .png
    (re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE), "an HTML page, as of a failed download"),
    (re.compile(rb"\s*(<\?xml|<svg)", re.IGNORECASE), "XML"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b"), "an archive"),
)
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})  # more than 8 bits of gray
_MOST_JPEG = 512 * 2**20  # bytes of a file that are searched for scans
_STEPS = {"L;2": 85, "L;4": 17}  # Pillow's factors for gray of 2 and 4 bits; it does not scale the transparent value
_ORIENTATION = 0x0112  # tag of EXIF and of TIFF
_PLANES = 284  # tag of TIFF


def is_picture(path: Path) -> bool:
    """True if a file begins as an image in a supported format; nothing is decoded."""
    try:
        with quiet_warnings(), path.open("rb") as file:
            # Pillow opens fewer TIFF sample formats than `read_picture`, which also names unsupported ones
            if not is_tiff(file):
                Image.open(file, formats=_FORMATS).close()
    except Exception:  # Pillow raises any exception on broken files
        return False
    return True


def held_pictures(path: Path) -> tuple[int, int]:
    """Number of readable images in a file, and of further ones; (1, 0) if they can't be counted.

    Readable are the first MOST_PAGES pages of a TIFF, except reduced copies and masks, and an animation's first frame.
    Raises UnreadableImageError for more than MOST_COUNTED images, and for a TIFF with a broken chain of pages.
    """
    try:
        with quiet_warnings(), path.open("rb") as file:
            if is_tiff(file):
                pages = image_pages(path)
                read = min(len(pages.places), MOST_PAGES)
                return read, len(pages.places) - read + pages.others
            with Image.open(file, formats=_FORMATS) as picture:
                return 1, _further_frames(picture)
    except UnreadableImageError:
        raise
    except Exception:  # read_picture reports the reason
        return 1, 0


def read_picture(path: Path, number: int = 0) -> tuple[Grey, int]:
    """Luminance (H, W) of an image, upright by its EXIF orientation, and the number of the file's other images.

    `number`: page of a TIFF, from 0; of an animation, the first frame is read. Values of more than 8 bits are stretched
    between percentiles. Transparent pixels are composited on black. Raises UnreadableImageError for files that can't be
    decoded completely.
    """
    try:
        # opened here: Pillow memory-maps files that it opens by name, and then decodes rotated TIFFs wrongly
        with path.open("rb") as file, quiet_warnings(), quiet_stderr():
            return _read_tiff(path, file, number) if is_tiff(file) else _read(file)
    except UnidentifiedImageError:
        raise UnreadableImageError(_no_picture(path)) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("its header states too many pixels: a decompression bomb") from None
    except (UnreadableImageError, MemoryError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # Pillow raises any exception on broken files
        if "MAX_TEXT" in str(error):
            raise UnreadableImageError("its text chunks unpack to megabytes; save it without them") from None
        raise UnreadableImageError("the image is damaged or cut short") from None


def _read_tiff(path: Path, file: BinaryIO, number: int) -> tuple[Grey, int]:
    pages = image_pages(path)
    places = pages.places
    if not 0 <= number < min(len(places), MOST_PAGES):
        raise UnreadableImageError(
            f"page {number} (from 0) can't be read: the TIFF file has {len(places)} pages, and at most {MOST_PAGES:,} "
            "are read"
        )
    return _read_page(page_at(file, places[number])), len(places) - 1 + pages.others


def _read_page(page: Page) -> Grey:
    layout = layout_of(page)
    separate_inverse = layout.photometric == 0 and page.number(_PLANES, 1) == 2  # which Pillow does not invert
    if (layout.plain and not separate_inverse) or layout.photometric > RGB:
        # suppressed: layouts that Pillow does not support
        with suppress(UnidentifiedImageError, SyntaxError, ValueError), FromPage(page) as file:
            first = cast("BinaryIO", file)
            with _opened(first) as picture:
                return _grey(picture, first)
    return _upright(tiff_grey(page, layout), page.number(_ORIENTATION, 1))


def _read(file: BinaryIO) -> tuple[Grey, int]:
    with _opened(file) as picture:
        return _grey(picture, file), _further_frames(picture)


def _opened(file: BinaryIO) -> ImageFile:
    file.seek(0)
    if file.read(2) == b"\xff\xd8":
        file.seek(0)
        require_few_scans(file.read(_MOST_JPEG))
    file.seek(0)
    return Image.open(file, formats=_FORMATS)


def _further_frames(picture: ImageFile) -> int:
    """Frames after the first; 0 if they can't be counted. Raises UnreadableImageError for more than MOST_COUNTED."""
    number = 1
    with suppress(Exception):  # Pillow raises any exception on broken files
        number = getattr(picture, "n_frames", 1)
    require_countable(number)
    return number - 1


def _grey(picture: ImageFile, file: BinaryIO) -> Grey:
    layout = stored_layout(picture)
    require_size(*picture.size, MOST_DEEP if layout in CHANNELS else MOST_PIXELS)
    picture.load()
    clear = picture.info.get("transparency")
    if layout in _STEPS and isinstance(clear, int):
        picture.info["transparency"] = clear * _STEPS[layout]
    if channels := CHANNELS.get(layout):
        grey = stretched(deep_luminance(file, _FORMATS, channels, clear if channels == "RGB" else None))
    elif picture.mode in _DEEP:
        values = np.array(picture)
        if isinstance(clear, int):
            values[values == clear] = 0
        grey = stretched(values)
    else:
        grey = _eight_bit(picture)
    return _upright(grey, picture.getexif().get(_ORIENTATION, 1))


def _upright(grey: Grey, orientation: int) -> Grey:
    picture = Image.fromarray(grey)
    picture.getexif()[_ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(picture))


def _eight_bit(picture: Image.Image) -> Grey:
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
            return f"the file is not an image but {what}"
    return "unsupported file type; supported: DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PPM"
