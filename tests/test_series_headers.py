"""What headers say of the order of slices: bounded, quiet, whatever stands in them."""

import logging
import warnings
from collections.abc import Sequence as Several
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sequence import Sequence

from dicom_files import item
from factories import dicom, written
from medscreen.config.datasets import SpacedSlices
from medscreen.data.dicom.frames import read_frame
from medscreen.data.dicom.series import SeriesHeader, read_series_header
from medscreen.data.dicom.slice_order import positions
from medscreen.data.sources.slice_selection import taken

FRAMES = np.stack([np.roll(np.arange(256, dtype=np.uint16), 7 * number).reshape(16, 16) for number in range(5)])
AXIAL, SAGITTAL = [1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1]


def enhanced(
    path: Path, places: Several[float | None], turned: int | None = None, shared: bool = True, undefined: bool = False
) -> Path:
    """A multi-frame file with a place for each frame; frame `turned` lies across the others."""
    groups = []
    for number, place in enumerate(places):
        group = item(FrameContentSequence=[item(StackID="1")])
        if place is not None:
            group.PlanePositionSequence = [item(ImagePositionPatient=[1, 2, place])]
        if number == turned or not shared:
            plane = item(ImageOrientationPatient=SAGITTAL if number == turned else AXIAL)
            group.PlaneOrientationSequence = [plane]
        groups.append(group)
    elements: dict[str, Any] = {"PerFrameFunctionalGroupsSequence": Sequence(groups)}
    if shared:
        all_of_them = item(PlaneOrientationSequence=[item(ImageOrientationPatient=AXIAL)])
        elements["SharedFunctionalGroupsSequence"] = Sequence([all_of_them])
    dicom(path, FRAMES, **elements)
    if undefined:
        dataset = dcmread(path)
        dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = True
        dataset.save_as(path)
    return path


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_frames_lie_in_the_order_of_their_places(tmp_path: Path, shared: bool, undefined: bool) -> None:
    path = enhanced(tmp_path / "a", [30, 10, 50, 20, 40], shared=shared, undefined=undefined)
    header = read_series_header(path)
    assert header is not None
    assert header.frames == (1, 3, 0, 4, 2)
    chosen = [frame for _, frame in taken([(path, header)], SpacedSlices(take="spaced", number=2))]
    assert chosen == [3, 4]  # at 20 and at 40 mm
    np.testing.assert_array_equal(read_frame(path).stored, FRAMES[0])  # the middle one, wherever it is stored
    np.testing.assert_array_equal(read_frame(path, 3).stored, FRAMES[3])  # a number is that in the file


@pytest.mark.parametrize(
    "file",
    [
        {"places": [30, 10, None, 20, 40]},
        {"places": [30, 10, 50, 20]},
        {"places": [30, 10, 50, 20, 40], "turned": 2},
        {"places": [30, 10, 50, 20, float("nan")]},
        {"places": []},
    ],
)
def test_frames_that_are_not_all_placed_lie_as_they_are_stored(tmp_path: Path, file: dict[str, Any]) -> None:
    with warnings.catch_warnings(action="ignore"):  # pydicom, of a position that is no number
        path = enhanced(tmp_path / "a", **file)
    header = read_series_header(path)
    assert header is not None
    assert header.frames == (0, 1, 2, 3, 4)
    np.testing.assert_array_equal(read_frame(path).stored, FRAMES[2])


def test_normals_that_differ_by_less_than_rounding_are_parallel(tmp_path: Path) -> None:
    headers = []
    for number, tilt in enumerate((0.0, 9e-4, 2e-3)):
        path = dicom(
            tmp_path / str(number), FRAMES[0], ImagePositionPatient=[0, 0, number],
            ImageOrientationPatient=[1, 0, round(tilt, 6), 0, 1, 0],
        )  # fmt: skip
        headers.append(read_series_header(path))
    places = [header.place for header in headers if header is not None]
    assert positions(places[:2]) == pytest.approx([0, 1])
    assert positions(places) is None


def test_a_header_of_65_000_frames_and_more_is_one_frame(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a", FRAMES, NumberOfFrames=2_000_000_000)
    assert read_series_header(path) == SeriesHeader()


def test_oddities_are_neither_told_nor_fatal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = dicom(tmp_path / "a", FRAMES[0], SeriesInstanceUID="1.2.3", InstanceNumber=5)
    content = path.read_bytes()
    name = b"QUILLFEATHER"
    odd = content.replace(b"\x08\0\x16\0UI", b"\x08\0\x05\0CS\x0c\0" + name + b"\x08\0\x16\0UI")
    odd = odd.replace(b"1.2.3\0", b"1.2.x\0")
    with warnings.catch_warnings(record=True, action="always") as told, caplog.at_level(logging.DEBUG):
        dcmread(written(tmp_path / "b", odd), stop_before_pixels=True).decode()
        assert told  # of its character set, which it quotes
        told.clear()
        caplog.clear()
        header = read_series_header(tmp_path / "b")
        assert not told
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert header == SeriesHeader(series="1.2.x", number=5)


def test_a_length_beyond_the_file_is_damage_and_allocates_nothing(tmp_path: Path) -> None:
    content = dicom(tmp_path / "a", FRAMES[0], InstanceNumber=5, StudyComments="x").read_bytes()
    start = content.index(b" \0\x13\0IS")
    broken = written(tmp_path / "b", content[: start + 4] + b"UN\0\0\xfe\xff\xff\xff" + content[start + 8 :])
    header = read_series_header(broken)
    assert header is not None
    assert (header.number, header.frames) == (None, (0,))


def test_a_header_longer_than_what_is_read_first_is_read_whole(tmp_path: Path) -> None:
    note = item(TextValue="x" * 200_000)
    path = dicom(
        tmp_path / "a", FRAMES, ContentSequence=Sequence([note]), InstanceNumber=4, SeriesInstanceUID="1.2.3",
        RequestAttributesSequence=Sequence([note]),
    )  # fmt: skip
    assert path.read_bytes().index(b"\xe0\x7f\x10\0") > 2**17
    assert read_series_header(path) == SeriesHeader(series="1.2.3", number=4, frames=(0, 1, 2, 3, 4))
