"""Reads an image file, DICOM or another format, as display gray."""

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

BURNED_IN = "its BurnedInAnnotation states text burned into the pixels, which the setting burned_in: refuse excludes"
"""Reason for refusing files with burned-in text."""


@dataclass(frozen=True)
class DisplayedImage:
    """An image as displayed, at full size, and properties of its file.

    `spacing`: millimeters between rows and between columns; None if not stated. `burned_in`: the header states text
    burned into the pixels. `for_processing`: the header states raw detector values, not meant for display. `others`:
    number of further images in the file. `described`: `modality` and `body part` as DICOM states them, "" if not
    stated; None for other files.
    """

    grey: Grey
    spacing: tuple[float, float] | None = None
    burned_in: bool = False
    for_processing: bool = False
    others: int = 0
    described: Mapping[str, str] | None = None


def is_image(path: Path) -> bool:
    """True if a file begins as DICOM or as another supported format; the rest is not checked."""
    try:
        with path.open("rb") as file:
            return first_element(file.read(HEAD)) is not None or is_picture(path)
    except OSError:
        return False


def held_images(path: Path) -> tuple[int, int]:
    """Number of images in a file that can be read by their number, from 0, and of further ones.

    Images are frames of DICOM and pages of TIFF. (1, 0) for an unreadable file: `read_image` reports the reason.
    """
    try:
        header = read_series_header(path)
        return (len(header.frames), 0) if header is not None else held_pictures(path)
    except (OSError, UnreadableImageError):
        return 1, 0


def read_image(path: Path, display: DisplayParams, frame: int | None = None) -> DisplayedImage:
    """The file's image as displayed; of several, the one with the number `frame`, from 0.

    Without a number it is the middle frame of DICOM, the first page of TIFF or the first frame of an animation.

    DICOM is recognized by content, not by name; `display` applies to it alone. Raises UnreadableImageError for files
    that can't be decoded or displayed with these settings, and for images of one gray value.
    """
    try:
        with path.open("rb") as file:
            is_dicom = first_element(file.read(HEAD)) is not None
        image = _read_dicom(path, display, frame) if is_dicom else _read_picture(path, frame)
    except MemoryError:
        raise UnreadableImageError("there is not enough memory to decode it") from None
    except OSError as error:
        raise UnreadableImageError(f"the file can't be opened: {error.strerror or 'it ends too early'}") from None
    require_picture(image.grey)
    return image


def read_grey(path: Path, display: DisplayParams) -> Grey:
    """The gray values of `read_image`."""
    return read_image(path, display).grey


def _read_picture(path: Path, frame: int | None) -> DisplayedImage:
    grey, others = read_picture(path, frame or 0)
    return DisplayedImage(grey, others=others)


def _read_dicom(path: Path, display: DisplayParams, frame: int | None) -> DisplayedImage:
    with quiet_pydicom():  # pydicom converts elements on access, not when it reads them
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
        raise UnreadableImageError(f"it is in color, to which windows do not apply: {SET_WINDOW} file or percentiles")
    if palette:
        return palette_grey(frame.stored, header)
    return luminance(frame.stored, 2.0**header.bits - 1)
