"""Rescale, windows and tables of a frame: functional groups, shared ones and the file's own; windows with gaps."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from dicom_files import RAMP, grey, groups, item, linear, reason, stretched, table
from factories import dicom

FRAMES = np.stack([RAMP, RAMP[::-1], RAMP.T])
SQUARE = np.round(65535 * (np.arange(4096) / 4095) ** 2)
ROOT = np.round(1023 * (np.arange(4096) / 4095) ** 0.5)


def voi(lut: Any = None, **window: Any) -> dict[str, Any]:
    """A Frame VOI LUT macro."""
    tables = {} if lut is None else {"VOILUTSequence": Sequence([lut])}
    return {"FrameVOILUTSequence": Sequence([item(**tables, **window)])}


def test_a_frame_has_the_table_of_its_functional_group(tmp_path: Path) -> None:
    own = [item(**voi(table(SQUARE))), item(**voi(table(ROOT, bits=10))), item()]
    path = dicom(
        tmp_path / "a.dcm", FRAMES, **groups(frames=own, shared=item(**voi(WindowCenter=2048, WindowWidth=100)))
    )
    np.testing.assert_array_equal(grey(path, 0), np.round(SQUARE[FRAMES[0]] / 65535 * 255))
    np.testing.assert_array_equal(grey(path, 1), np.round(ROOT[FRAMES[1]] / 1023 * 255))
    np.testing.assert_array_equal(grey(path, 2), linear(FRAMES[2], 2048, 100))


def test_all_frames_have_the_shared_table(tmp_path: Path) -> None:
    shared = item(**voi(table(SQUARE)))
    path = dicom(tmp_path / "a.dcm", FRAMES, **groups(shared=shared, frames=[item()] * 3))
    for number in range(3):
        np.testing.assert_array_equal(grey(path, number), np.round(SQUARE[FRAMES[number]] / 65535 * 255))


NEAR = {"window": {"WindowCenter": 1000, "WindowWidth": 500}, "lut": {"lut": table(SQUARE)}}


@pytest.mark.parametrize(("frame", "shared", "file"), itertools.product(["window", "lut", None], repeat=3))
def test_the_nearest_window_or_table_is_used(
    tmp_path: Path, frame: str | None, shared: str | None, file: str | None
) -> None:
    elements = groups(
        frames=[item(**(voi(**NEAR[frame]) if frame else {}))] * 3,
        shared=item(**(voi(**NEAR[shared]) if shared else {})),
    )
    if file == "lut":
        elements["VOILUTSequence"] = Sequence([table(SQUARE)])
    elif file:
        elements |= NEAR["window"]
    path = dicom(tmp_path / "a.dcm", FRAMES, **elements)
    square = np.round(SQUARE[RAMP] / 65535 * 255)
    expected = {"window": linear(RAMP, 1000, 500), "lut": square, None: stretched(RAMP)}[frame or shared or file]
    np.testing.assert_array_equal(grey(path, 0), expected)


def test_of_a_table_and_a_window_in_one_macro_the_table_is_used(tmp_path: Path) -> None:
    shared = item(**voi(table(SQUARE), WindowCenter=9, WindowWidth=9))
    path = dicom(tmp_path / "a.dcm", FRAMES, **groups(shared=shared))
    np.testing.assert_array_equal(grey(path, 1), np.round(SQUARE[FRAMES[1]] / 65535 * 255))


@pytest.mark.parametrize("place", ["frames", "shared", "file"])
@pytest.mark.parametrize("kind", ["rescale", "table"])
def test_pixel_value_transformation_is_the_frames(tmp_path: Path, place: str, kind: str) -> None:
    other = {"RescaleSlope": 7, "RescaleIntercept": 7}
    entries = (np.arange(4096) * 3 + 5).astype(np.uint16)
    own: dict[str, Any] = {"RescaleSlope": 3, "RescaleIntercept": 5}
    if kind == "table":
        own = {"ModalityLUTSequence": Sequence([table(entries)])}
    window = {"WindowCenter": 6000, "WindowWidth": 9000}
    if place == "file":
        path = dicom(tmp_path / "a.dcm", FRAMES, **own, **window)
    else:
        macro = item(PixelValueTransformationSequence=Sequence([item(**own)]))
        elements = groups(**{place: macro if place == "shared" else [macro] * 3})
        path = dicom(tmp_path / "a.dcm", FRAMES, **elements, **other, **window)
    np.testing.assert_array_equal(grey(path, 2), linear(FRAMES[2] * 3.0 + 5, 6000, 9000))


def test_frame_tables_are_of_rescaled_values(tmp_path: Path) -> None:
    rescale = item(PixelValueTransformationSequence=Sequence([item(RescaleSlope=2, RescaleIntercept=-1000)]))
    own = [item(**voi(table(SQUARE, first=-500))) for _ in FRAMES]
    path = dicom(tmp_path / "a.dcm", FRAMES, **groups(shared=rescale, frames=own))
    places = np.clip(FRAMES[1].astype(int) * 2 - 1000 + 500, 0, 4095)
    np.testing.assert_array_equal(grey(path, 1), np.round(SQUARE[places] / 65535 * 255))


@pytest.mark.parametrize("frame", [0, 2])
def test_groups_of_fewer_frames_than_there_are_leave_the_others_to_the_file(tmp_path: Path, frame: int) -> None:
    own = groups(frames=[item(**voi(WindowCenter=1000, WindowWidth=500))])
    path = dicom(tmp_path / "a.dcm", FRAMES, WindowCenter=3000, WindowWidth=700, **own)
    expected = linear(FRAMES[frame], *((1000, 500) if frame == 0 else (3000, 700)))
    np.testing.assert_array_equal(grey(path, frame), expected)


def test_items_without_elements_are_none(tmp_path: Path) -> None:
    empty = Sequence([item()])
    path = dicom(
        tmp_path / "a.dcm", RAMP, VOILUTSequence=empty, ModalityLUTSequence=empty, WindowCenter=2000, WindowWidth=1000
    )
    np.testing.assert_array_equal(grey(path), linear(RAMP, 2000, 1000))
    grouped = groups(
        shared=item(FrameVOILUTSequence=empty, PixelValueTransformationSequence=empty), frames=[item()] * 3
    )
    path = dicom(tmp_path / "b.dcm", FRAMES, WindowCenter=2000, WindowWidth=1000, **grouped)
    np.testing.assert_array_equal(grey(path, 0), linear(RAMP, 2000, 1000))


def raw(path: Path, **texts: bytes) -> Path:
    """A film whose elements hold these bytes, however odd."""
    dataset = dcmread(dicom(path, RAMP))
    for keyword, text in texts.items():
        tag, value = Tag(keyword), text + b" " * (len(text) % 2)
        kind = "CS" if keyword == "VOILUTFunction" else "DS"
        dataset[tag] = RawDataElement(tag, kind, len(value), value, 0, False, True)
    dataset.save_as(path)
    return path


WINDOW, NONE = linear(RAMP, 2048, 4096), stretched(RAMP)


@pytest.mark.parametrize(
    ("center", "width", "expected"),
    [
        (b"2048\\", b"4096\\", WINDOW),
        (b"2048\\", b"4096", WINDOW),
        (b"2048", b"4096\\", WINDOW),
        (b"2048\\\\\\", b"4096\\9\\9", WINDOW),
        (b"\\2048", b"\\4096", WINDOW),
        (b"\\2048", b"4096", WINDOW),
        (b"2048", b"\\4096", WINDOW),
        (b"9\\2048", b"\\4096", WINDOW),
        (b" \\2048", b"7\\4096", WINDOW),
        (b"2048\\ab", b"4096\\cd", WINDOW),
        (b"2048\\nan", b"4096\\inf", WINDOW),
        (b"2048\\40\\50", b"4096\\80", WINDOW),
        (b"2048", b"4096\\80", WINDOW),
        (b"2048.0 \\ 40", b" 4096\\ 80 ", WINDOW),
        (b"+2.048E3", b"4.096e+3", WINDOW),
        (b"\\", b"\\", NONE),
        (b"", b"", NONE),
        (b" ", b" \\ ", NONE),
        (b"2048", b"", NONE),
        (b"", b"4096", NONE),
        (b"\0\0", b"\0\0", NONE),
    ],
)
def test_the_first_whole_window_is_used(tmp_path: Path, center: bytes, width: bytes, expected: Any) -> None:
    path = raw(tmp_path / "a.dcm", WindowCenter=center, WindowWidth=width)
    np.testing.assert_array_equal(grey(path), expected)


@pytest.mark.parametrize(("center", "width"), [(b"ab\\2048", b"cd\\4096"), (b"nan", b"4096"), (b"2048", b"x")])
def test_a_first_window_that_is_no_number_is_named(tmp_path: Path, center: bytes, width: bytes) -> None:
    message = reason(raw(tmp_path / "a.dcm", WindowCenter=center, WindowWidth=width))
    assert "of its header is no" in message
    assert "ab" not in message.replace("readable", "")


@given(
    windows=st.lists(
        st.tuples(st.sampled_from(["", " ", "2000", "-7.5"]), st.sampled_from(["", "  ", "1000", "77.5"])), min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_windows_with_any_gaps_are_the_first_without(
    tmp_path_factory: pytest.TempPathFactory, windows: list[tuple[str, str]]
) -> None:
    path = raw(
        tmp_path_factory.mktemp("a") / "a.dcm", WindowCenter="\\".join(center for center, _ in windows).encode(),
        WindowWidth="\\".join(width for _, width in windows).encode(),
    )  # fmt: skip
    whole = [(float(center), float(width)) for center, width in windows if center.strip() and width.strip()]
    if not whole:
        return
    expected = linear(RAMP, *whole[0])
    if expected.min() == expected.max():
        assert "same gray value" in reason(path)
    else:
        np.testing.assert_array_equal(grey(path), expected)


@pytest.mark.parametrize(
    ("function", "width", "expected"),
    [
        (b"", b"1000", linear(RAMP, 2000, 1000)),
        (b"LINEAR", b"1", np.where(RAMP > 1999.5, 255, 0)),
        (b"LINEAR_EXACT", b"1", np.round(np.clip(RAMP - 2000.0 + 0.5, 0, 1) * 255)),
        (b"LINEAR_EXACT", b"0.5", np.round(np.clip((RAMP - 2000.0) / 0.5 + 0.5, 0, 1) * 255)),
        (b"linear_exact", b"1000", np.round(np.clip((RAMP - 2000.0) / 1000 + 0.5, 0, 1) * 255)),
        (b"SIGMOID", b"1000", np.round(255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000)))),
        (b"SIGMOID", b"1", None),
    ],
)
def test_a_function_is_that_of_the_standard(tmp_path: Path, function: bytes, width: bytes, expected: Any) -> None:
    path = raw(tmp_path / "a.dcm", WindowCenter=b"2000", WindowWidth=width, VOILUTFunction=function)
    shown = grey(path)
    if expected is not None:
        np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize(
    ("function", "width"),
    [(b"LINEAR", b"0"), (b"LINEAR", b"-5"), (b"LINEAR", b"0.5"), (b"LINEAR_EXACT", b"0"), (b"LINEAR_EXACT", b"-1"),
     (b"SIGMOID", b"0"), (b"SIGMOID", b"-9"), (b"", b"0")],
)  # fmt: skip
def test_a_width_that_no_function_has_is_named(tmp_path: Path, function: bytes, width: bytes) -> None:
    path = raw(tmp_path / "a.dcm", WindowCenter=b"2000", WindowWidth=width, VOILUTFunction=function)
    assert "its Window Width is too small" in reason(path)


def test_a_slope_of_0_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=0, RescaleIntercept=-1024)
    assert reason(path).startswith("its RescaleSlope is 0")


@pytest.mark.parametrize(("slope", "intercept"), [(b"2\\", b"-9\\"), (b"2", b""), (b"", b"-9"), (b"2\\x", b"-9\\7")])
def test_rescale_with_gaps(tmp_path: Path, slope: bytes, intercept: bytes) -> None:
    path = raw(
        tmp_path / "a.dcm", RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=b"3000", WindowWidth=b"4000"
    )
    values = RAMP * (2.0 if slope else 1.0) - (9 if intercept else 0)
    np.testing.assert_array_equal(grey(path), linear(values, 3000, 4000))


@pytest.mark.parametrize("elements", [{}, {"WindowCenter": 2000, "WindowWidth": 1000}, {"lut": 1}, {"modality": 1}])
@pytest.mark.parametrize("shape", [None, "INVERSE"])
def test_monochrome1_is_inverted_once_after_every_way(
    tmp_path: Path, elements: dict[str, Any], shape: str | None
) -> None:
    if "lut" in elements:
        elements = {"VOILUTSequence": Sequence([table(SQUARE)])}
    elif "modality" in elements:
        elements = {"ModalityLUTSequence": Sequence([table(SQUARE)]), "WindowCenter": 20000, "WindowWidth": 30000}
    plain = grey(dicom(tmp_path / "a.dcm", RAMP, **elements))
    stated = {"PresentationLUTShape": shape} if shape else {}
    inverse = grey(dicom(tmp_path / "b.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **elements, **stated))
    np.testing.assert_array_equal(inverse, 255 - plain)
    frames = groups(shared=item(**voi(table(SQUARE))))
    path = dicom(tmp_path / "c.dcm", FRAMES, PhotometricInterpretation="MONOCHROME1", **frames)
    np.testing.assert_array_equal(grey(path, 0), 255 - np.round(SQUARE[RAMP] / 65535 * 255))


def test_identity_is_the_shape_of_monochrome2_and_inverse_contradicts_it(tmp_path: Path) -> None:
    plain = grey(dicom(tmp_path / "a.dcm", RAMP))
    same = grey(dicom(tmp_path / "b.dcm", RAMP, PresentationLUTShape="IDENTITY"))
    np.testing.assert_array_equal(plain, same)
    assert "contradict each other" in reason(dicom(tmp_path / "c.dcm", RAMP, PresentationLUTShape="INVERSE"))
