"""Series, instance number, position and frames of a DICOM file, from its header; pixels are not read."""

import io
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medscreen.data.dicom.elements import first_element, opened, read_elements
from medscreen.data.dicom.slice_order import MOST_FRAMES, Place, frames_in_order, place_of
from medscreen.data.library_logging import quiet_pydicom

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

_KEYWORDS = (
    "SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames", "Rows",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_FIRST = 64 * 2**10  # bytes; most headers are shorter


@dataclass(frozen=True)
class SeriesHeader:
    """Series, instance number and position of a file; "" and None if the header does not state them.

    `frames`: frame numbers in spatial order. `sound`: False if the header can't be read.
    """

    series: str = ""
    frames: tuple[int, ...] = (0,)
    number: int | None = None
    place: Place | None = None
    sound: bool = True


def read_series_header(path: Path) -> SeriesHeader | None:
    """The series header of a file; None if it is not DICOM.

    A file without "DICM" is DICOM only if it has rows and pixels.
    """
    start = None
    try:
        with path.open("rb") as file:
            head = file.read(_FIRST)
        start = first_element(head)
        if start is None:
            return None
        with quiet_pydicom():
            dataset, has_pixels = _read(path, head)
            if start or (has_pixels and dataset.get("Rows")):
                return _header(dataset)
    except Exception:  # pydicom raises any exception on broken files; read_image reports the reason
        return None if start == 0 else SeriesHeader(sound=False)
    return None


@cache
def _tags() -> "list[BaseTag | int]":
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in _KEYWORDS]


def _read(path: Path, head: bytes) -> tuple["Dataset", bool]:
    """The elements, and True if pixel data follows them."""
    with suppress(Exception):  # a sequence can extend beyond the first bytes
        elements = read_elements(io.BytesIO(head), _tags())
        if elements.file.read(1):
            return elements.dataset, True
    with opened(path) as file:
        elements = read_elements(file, _tags())
        return elements.dataset, bool(elements.file.read(1))


def _header(dataset: "Dataset") -> SeriesHeader:
    found: dict[str, Any] = {}
    for keyword in ("SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "ImageOrientationPatient",
                    "ImagePositionPatient"):  # fmt: skip
        with suppress(Exception):  # an unreadable value counts as missing
            found[keyword] = dataset.get(keyword)
    frames = whole_number(found.get("NumberOfFrames")) or 1
    return SeriesHeader(
        series=str(found.get("SeriesInstanceUID") or ""),
        frames=tuple(frames_in_order(dataset, frames if 1 <= frames <= MOST_FRAMES else 1)),
        number=whole_number(found.get("InstanceNumber")),
        place=place_of(found.get("ImageOrientationPatient"), found.get("ImagePositionPatient")),
    )


def whole_number(value: Any) -> int | None:
    """An element's value as an integer; None if it is not one."""
    with suppress(TypeError, ValueError, OverflowError):
        return int(value)
    return None
