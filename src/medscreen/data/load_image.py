"""Reads an image file, DICOM or picture, as display grey."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medscreen.config.display import DisplayParams
from medscreen.data.dicom.elements import HEAD, first_element
from medscreen.data.dicom.frames import Frame, read_frame
from medscreen.data.dicom.palettes import palette_grey
from medscreen.data.dicom.series import read_series_header
from medscreen.data.dicom.windows import displayed
from medscreen.data.display import Grey, luminance, require_picture
from medscreen.data.image_errors import SET_WINDOW, UnreadableImageError
from medscreen.data.library_logging import quiet_pydicom
from medscreen.data.pictures import held_pictures, is_picture, read_picture

BURNED_IN = "by its BurnedInAnnotation, text is burned into its pixels, and burned_in: refuse leaves such files out"
"""The reason by which files with burned-in text are refused."""


@dataclass(frozen=True)
class DisplayedImage:
    """An image as displayed, at its own size, and the file's other properties.

    `spacing`: millimeters between rows and between columns, None where not stated. `burned_in`: by the file's header,
    text is burned into its pixels. `for_processing`: by its header these are raw values of a detector, not
    meant for display. `others`: how many more images the file holds. `described`: `modality` and `body part` as DICOM
    states them, "" where it does not; None of other pictures.
    """

    grey: Grey
    spacing: tuple[float, float] | None = None
    burned_in: bool = False
    for_processing: bool = False
    others: int = 0
    described: Mapping[str, str] | None = None


def is_image(path: Path) -> bool:
    """True if a file begins as DICOM or as a picture of a supported kind, whatever follows."""
    try:
        with path.open("rb") as file:
            return first_element(file.read(HEAD)) is not None or is_picture(path)
    except OSError:
        return False


def held_images(path: Path) -> tuple[int, int]:
    """Numbers of images of a file that can be read by their number, from 0, and of further ones.

    These are the frames of DICOM and the pages of TIFF. (1, 0) for a file that can't be read at all: `read_image`
    states why.
    """
    try:
        header = read_series_header(path)
        return (len(header.frames), 0) if header is not None else held_pictures(path)
    except (OSError, UnreadableImageError):
        return 1, 0


def read_image(path: Path, display: DisplayParams, frame: int | None = None) -> DisplayedImage:
    """The file's image as displayed: the one with the number `frame`, from 0, of a file that holds several.

    Without a number it is the middle frame of DICOM, the first page of TIFF and the first frame of an animation.

    DICOM is recognized by content, not by the name; `display` concerns it alone. Raises UnreadableImageError for
    whatever can't be decoded or image that way, and for an image of one single grey value.
    """
    try:
        with path.open("rb") as file:
            is_dicom = first_element(file.read(HEAD)) is not None
        image = _read_dicom(path, display, frame) if is_dicom else _read_picture(path, frame)
    except MemoryError:
        raise UnreadableImageError("decoding it needs more memory than there is") from None
    except OSError as error:
        raise UnreadableImageError(f"the file can't be opened: {error.strerror or 'it ends too early'}") from None
    require_picture(image.grey)
    return image


def read_grey(path: Path, display: DisplayParams) -> Grey:
    """The grey of `read_image`."""
    return read_image(path, display).grey


def _read_picture(path: Path, frame: int | None) -> DisplayedImage:
    grey, others = read_picture(path, frame or 0)
    return DisplayedImage(grey, others=others)


def _read_dicom(path: Path, display: DisplayParams, frame: int | None) -> DisplayedImage:
    with quiet_pydicom():  # elements are converted when they are asked for, not when they are read
        read = read_frame(path, frame)
        if read.header.burned_in and display.burned_in == "refuse":
            raise UnreadableImageError(BURNED_IN)
        header = read.header
        grey = _displayed(read, display)
        return DisplayedImage(
            grey, header.spacing, header.burned_in, header.for_processing, header.frames - 1, header.described
        )


def _displayed(frame: Frame, display: DisplayParams) -> Grey:
    header = frame.header
    palette = header.code("PhotometricInterpretation") == "PALETTE COLOR"
    if frame.stored.ndim == 2 and not palette:
        return displayed(frame.stored, header, display)
    if display.window not in {"file", "percentiles"}:
        raise UnreadableImageError(f"it is in color, and a window is for values: {SET_WINDOW} file or percentiles")
    if palette:
        return palette_grey(frame.stored, header)
    return luminance(frame.stored, 2.0**header.bits - 1)
