"""PNG, JPEG, TIFF and the other picture formats that Pillow reads, recognized by content and never by name."""

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

# Pillow opens more, with an external program (EPS) or formats whose pixels nobody would screen
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
_STRANGERS = (  # what a file holds that is none of them, and often called .jpg or .png
    (re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE), "an HTML page, as failed downloads leave"),
    (re.compile(rb"\s*(<\?xml|<svg)", re.IGNORECASE), "XML"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b"), "an archive"),
)
_DEEP = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})  # more than 8 bits of grey
_MOST_JPEG = 512 * 2**20  # bytes of a file that are looked at for scans
_STEPS = {"L;2": 85, "L;4": 17}  # by which Pillow multiplies grey of few bits, but not the grey that is transparent
_ORIENTATION = 0x0112  # tag of EXIF and of TIFF
_PLANES = 284  # tag of TIFF


def is_picture(path: Path) -> bool:
    """True if a file begins as a picture of a supported kind; nothing is decoded."""
    try:
        with quiet_warnings(), path.open("rb") as file:
            # Pillow opens fewer sample formats of TIFF than are read, or refused by their name
            if not is_tiff(file):
                Image.open(file, formats=_FORMATS).close()
    except Exception:  # broken files make Pillow raise whatever it likes
        return False
    return True


def held_pictures(path: Path) -> tuple[int, int]:
    """Numbers of readable and of further pictures of a file; (1, 0) for one that can't be counted.

    The pages of a TIFF are pictures of their own, but for smaller copies and masks; of an animation, the first frame.
    Raises UnreadableImageError for more than anyone would count, and for a TIFF whose chain of pages breaks.
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
    except Exception:  # read_picture states what is wrong with it
        return 1, 0


def read_picture(path: Path, number: int = 0) -> tuple[Grey, int]:
    """The luminance (H, W) of a picture, upright by its EXIF orientation, and the number of the file's other pictures.

    Of a TIFF it is the page `number`, from 0, of an animation the first frame. More than 8 bits span the display from
    percentile to percentile. What is transparent lies before black.
    Raises UnreadableImageError for whatever can't be decoded whole.
    """
    try:
        # not by name: Pillow maps files into memory, and scrambles rotated TIFFs then
        with path.open("rb") as file, quiet_warnings(), quiet_stderr():
            return _read_tiff(path, file, number) if is_tiff(file) else _read(file)
    except UnidentifiedImageError:
        raise UnreadableImageError(_no_picture(path)) from None
    except Image.DecompressionBombError:
        raise UnreadableImageError("its header promises a decompression bomb: far too many pixels") from None
    except (UnreadableImageError, MemoryError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # broken files make Pillow raise whatever it likes
        if "MAX_TEXT" in str(error):
            raise UnreadableImageError("its text chunks would unpack to megabytes; save it without them") from None
        raise UnreadableImageError("the picture is damaged or cut short") from None


def _read_tiff(path: Path, file: BinaryIO, number: int) -> tuple[Grey, int]:
    pages = image_pages(path)
    places = pages.places
    if not 0 <= number < min(len(places), MOST_PAGES):
        raise UnreadableImageError(f"the TIFF file has {len(places)} pages, and no page {number} (from 0) that is read")
    return _read_page(page_at(file, places[number])), len(places) - 1 + pages.others


def _read_page(page: Page) -> Grey:
    layout = layout_of(page)
    separate_inverse = layout.photometric == 0 and page.number(_PLANES, 1) == 2  # which Pillow does not invert
    if (layout.plain and not separate_inverse) or layout.photometric > RGB:
        # suppressed: a layout that Pillow does not have
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
    """Frames after the first; 0 where they can't be counted. Raises UnreadableImageError for far too many."""
    number = 1
    with suppress(Exception):  # broken files make Pillow raise whatever it likes
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
            return f"the file is no image but {what}"
    return "unsupported file type; supported: DICOM, PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000, PPM"
