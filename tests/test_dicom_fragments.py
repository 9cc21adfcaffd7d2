"""Frames of encapsulated pixel data, whatever the offset tables hold."""

import io
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, RLELossless

from dicom_files import RAMP, reason
from factories import dicom
from medscreen.data.dicom.frames import read_frame

FRAMES = np.stack([RAMP, RAMP[::-1], RAMP.T, RAMP // 2])
SMOOTH = (FRAMES >> 4).astype(np.uint8)


def rle_frames() -> list[bytes]:
    from pydicom.pixels.encoders.base import RLELosslessEncoder

    stated = {
        "rows": 64, "columns": 64, "samples_per_pixel": 1, "bits_allocated": 16, "bits_stored": 12,
        "pixel_representation": 0, "photometric_interpretation": "MONOCHROME2", "number_of_frames": 1,
    }  # fmt: skip
    return [RLELosslessEncoder.encode(frame, **stated) for frame in FRAMES]


def jpeg_frames() -> list[bytes]:
    found = []
    for frame in SMOOTH:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=95)
        found.append(file.getvalue())
    return found


def item(value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def starts(fragments: list[list[bytes]]) -> list[int]:
    """The offset of each frame, of which `fragments` holds the fragments."""
    places = [0]
    for frame in fragments:
        places.append(places[-1] + sum(len(item(part)) for part in frame))
    return places[:-1]


def path_with(
    path: Path, fragments: list[list[bytes]], basic: list[int], syntax: str, extended: list[int] | None = None,
    cut: int = 0, frames: int | None = None,
) -> Path:  # fmt: skip
    """A file of these frames, each of one or more fragments."""
    rle = syntax == RLELossless
    dataset = dcmread(dicom(path, FRAMES if rle else SMOOTH, bits=12 if rle else 8))
    dataset.NumberOfFrames = len(fragments) if frames is None else frames
    content = item(struct.pack(f"<{len(basic)}I", *basic)) + b"".join(
        item(part) for frame in fragments for part in frame
    )
    dataset.PixelData = content + b"\xfe\xff\xdd\xe0\0\0\0\0"
    dataset["PixelData"].is_undefined_length = True
    if extended is not None:
        dataset.ExtendedOffsetTable = struct.pack(f"<{len(extended)}Q", *extended)
        dataset.ExtendedOffsetTableLengths = struct.pack(f"<{len(extended)}Q", *[100] * len(extended))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path)
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])
    return path


def assert_each_frame(path: Path, syntax: str, frames: int = 4) -> None:
    for number in range(frames):
        values = read_frame(path, number).stored
        if syntax == RLELossless:
            np.testing.assert_array_equal(values, FRAMES[number])
        else:
            np.testing.assert_allclose(values.astype(int), SMOOTH[number].astype(int), atol=12)


@pytest.mark.parametrize("extended", [None, [0, 0, 0, 0], [0, 1, 2, 3], [], [0, 2**40, 5, 6]])
@pytest.mark.parametrize("table", ["sound", "none", "zeros", "shifted", "reversed", "beyond", "short", "odd", "long"])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit])
def test_an_offset_table_changes_no_frame_that_is_one_fragment(
    tmp_path: Path, table: str, syntax: str, extended: list[int] | None
) -> None:
    fragments = [[frame] for frame in (rle_frames() if syntax == RLELossless else jpeg_frames())]
    sound = starts(fragments)
    basic = {
        "sound": sound, "none": [], "zeros": [0] * 4, "shifted": [at + 8 for at in sound], "reversed": sound[::-1],
        "beyond": [at + 2**30 for at in sound], "short": sound[:2], "odd": [at + 1 for at in sound],
        "long": [*sound, 9],
    }[table]  # fmt: skip
    assert_each_frame(path_with(tmp_path / "a.dcm", fragments, basic, syntax, extended), syntax)


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.lists(st.floats(0.05, 0.95), max_size=3), min_size=4, max_size=4),
    offsets=st.one_of(st.just(None), st.lists(st.integers(0, 2**32 - 1), max_size=6)),
    extended=st.one_of(st.none(), st.lists(st.integers(0, 2**64 - 1), max_size=5)),
)
def test_frames_of_several_fragments_begin_where_their_codestreams_do(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[list[float]], offsets: list[int] | None,
    extended: list[int] | None,
) -> None:  # fmt: skip
    fragments = []
    for frame, shares in zip(jpeg_frames(), cuts, strict=True):
        ends = sorted({0, len(frame), *(int(share * len(frame)) // 2 * 2 for share in shares)})
        fragments.append([frame[low:high] for low, high in pairwise(ends)])
    basic = starts(fragments) if offsets is None else offsets
    path = path_with(tmp_path_factory.mktemp("a") / "a.dcm", fragments, basic, JPEGBaseline8Bit, extended)
    assert_each_frame(path, JPEGBaseline8Bit)


def test_more_fragments_than_frames_without_a_codestreams_start_need_a_sound_table(tmp_path: Path) -> None:
    fragments = [[frame[:400], frame[400:]] for frame in rle_frames()]
    path = path_with(tmp_path / "a.dcm", fragments, starts(fragments), RLELossless)
    assert_each_frame(path, RLELossless)
    message = reason(path_with(tmp_path / "b.dcm", fragments, [0] * 4, RLELossless))
    assert message.startswith("its offset table does not state where each frame begins")
    extended = path_with(tmp_path / "c.dcm", fragments, [], RLELossless, starts(fragments))
    assert_each_frame(extended, RLELossless)


@pytest.mark.parametrize("basic", [[], [0, 0, 0, 0]])
def test_one_frame_may_have_any_number_of_fragments(tmp_path: Path, basic: list[int]) -> None:
    for syntax, (frame, *_) in ((RLELossless, rle_frames()), (JPEGBaseline8Bit, jpeg_frames())):
        path = path_with(tmp_path / "a.dcm", [[frame[:200], frame[200:500], frame[500:]]], basic, syntax)
        assert_each_frame(path, syntax, frames=1)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit])
@pytest.mark.parametrize("sound", [True, False])
def test_whole_frames_of_a_cut_file_are_read_and_no_other(tmp_path: Path, syntax: str, sound: bool) -> None:
    fragments = [[frame] for frame in (rle_frames() if syntax == RLELossless else jpeg_frames())]
    path = path_with(tmp_path / "a.dcm", fragments, starts(fragments) if sound else [], syntax, cut=60)
    assert_each_frame(path, syntax, frames=3)
    assert "cut short" in reason(path, 3)
    few = path_with(tmp_path / "b.dcm", fragments, starts(fragments) if sound else [], syntax, frames=6)
    assert "cut short" in reason(few, 5)


def test_millions_of_empty_fragments_are_not_held(tmp_path: Path) -> None:
    path = path_with(tmp_path / "a.dcm", [[b""] * 300_000], [], RLELossless)
    assert "more than 262,144 fragments" in reason(path)
