"""Selection of slices from a series of DICOM files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from medscreen.config.datasets import AllSlices, MiddleSlice, SlicesParams, SpacedSlices
from medscreen.data.dicom.series import SeriesHeader
from medscreen.data.dicom.slice_order import positions

SeriesFile = tuple[Path, SeriesHeader]


def in_order(files: Sequence[SeriesFile]) -> list[SeriesFile]:
    """The files of one series, sorted by position along the normal, else by instance number, else by name."""
    along = positions([header.place for _, header in files]) or [0.0] * len(files)
    numbered = all(header.number is not None for _, header in files)
    numbers = [header.number or 0 if numbered else 0 for _, header in files]
    order = sorted(range(len(files)), key=lambda at: (along[at], numbers[at], _natural(files[at][0])))
    return [files[at] for at in order]


def taken(files: Sequence[SeriesFile], slices: SlicesParams) -> Iterator[tuple[Path, int | None]]:
    """File and frame (None for single-frame files) of the selected slices of a sorted series."""
    every = [(path, frame if len(header.frames) > 1 else None) for path, header in files for frame in header.frames]
    number = len(every)
    match slices:
        case MiddleSlice():
            yield every[number // 2]
        case SpacedSlices():
            share = min(slices.number, number)
            yield from (every[(2 * i + 1) * number // (2 * share)] for i in range(share))
        case AllSlices():
            yield from every


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key by which 9.dcm is before 10.dcm."""
    return [(int(digits or 0), text) for digits, text in re.findall(r"(\d{1,18})|(\D+)", path.as_posix())]
