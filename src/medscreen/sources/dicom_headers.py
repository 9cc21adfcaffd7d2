"""What the headers of DICOM files say of the order of a series; pixels are never read."""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

_TAGS = ["SeriesInstanceUID", "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames"]
# Its header is compressed together with the pixels: to read one is to unpack the other.
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MOST_FRAMES = 65_536  # a number beyond that is damage
_PARALLEL = 1e-3  # of unit vectors: how far the normals of two slices of a stack may be apart


@dataclass(frozen=True)
class Header:
    """What one file says of its series; "" and None where it does not.

    `position` is the place along the slices' `normal` in mm.
    """

    series: str = ""
    frames: int = 1
    number: int | None = None
    normal: tuple[float, float, float] | None = None
    position: float | None = None


def in_order(files: Sequence[tuple[Path, Header]]) -> list[tuple[Path, Header]]:
    """The files of one series by their place along the normal, else by instance number, else by name."""
    headers = [header for _, header in files]
    placed = all(header.position is not None and _parallel(header, headers[0]) for header in headers)
    numbered = all(header.number is not None for header in headers)

    def place(file: tuple[Path, Header]) -> tuple[float, int, list[tuple[int, str]]]:
        path, header = file
        number = header.number if numbered and header.number is not None else 0
        return header.position if placed and header.position is not None else 0.0, number, _natural(path)

    return sorted(files, key=place)


def _parallel(one: Header, other: Header) -> bool:
    if one.normal is None or other.normal is None:
        return False
    return bool(np.abs(np.subtract(one.normal, other.normal)).max() < _PARALLEL)


def _natural(path: Path) -> list[tuple[int, str]]:
    """A key that puts 9.dcm before 10.dcm."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d{1,18})|(\D+)", path.as_posix())]


def read_header(path: Path) -> Header | None:
    """The header of a file; None for one that is no DICOM. A damaged one says nothing."""
    # pydicom costs half a second that other sources need not pay
    from pydicom import dcmread

    try:
        with path.open("rb") as file:
            start = file.read(1024)
        if start[128:132] != b"DICM":
            return None
        if _DEFLATED in start:
            return Header()
        with warnings.catch_warnings():  # of values that are not as the standard wants them
            warnings.simplefilter("ignore")
            return _header(dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS)))
    except Exception:  # pydicom raises whatever it likes on broken files; the one who decodes them says why
        return Header()


def _header(dataset: "Dataset") -> Header:
    said: dict[str, Any] = {}
    for tag in _TAGS:
        with suppress(Exception):  # a value that can't be read is none
            said[tag] = dataset.get(tag)
    normal = position = None
    with suppress(TypeError, ValueError):
        right, down = np.array(said.get("ImageOrientationPatient"), dtype=float).reshape(2, 3)
        x, y, z = (float(part) for part in np.cross(right, down))
        place = float(np.dot((x, y, z), np.array(said.get("ImagePositionPatient"), dtype=float)))
        if np.isfinite(place):
            normal, position = (x, y, z), place
    frames = _whole(said.get("NumberOfFrames")) or 1
    return Header(
        series=str(said.get("SeriesInstanceUID") or ""),
        frames=frames if 1 <= frames <= _MOST_FRAMES else 1,
        number=_whole(said.get("InstanceNumber")),
        normal=normal,
        position=position,
    )


def _whole(value: Any) -> int | None:
    with suppress(TypeError, ValueError, OverflowError):
        return int(value)
    return None
