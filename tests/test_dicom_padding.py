"""Padding does not count as measured: of integers, of floats, and after lossy coding."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from dicom_encoders import JPEG_LOSSLESS, JPEG_LS, JPEG_LS_NEAR, by_gdcm, jpeg_2000
from dicom_files import NATIVE, RAMP, compressed, grey, saved, stretched
from factories import dicom
from medscreen.data.dicom.frames import read_frame

Y, X = np.indices((128, 128))
DISC = (Y - 64) ** 2 + (X - 64) ** 2 < 50**2


def slice_of(padding: int, low: int, high: int, kind: str = "int16") -> NDArray[Any]:
    """A disc of smooth values with noise between `low` and `high`, with padding around."""
    wave = 0.5 + 0.3 * np.sin(X / 9) * np.cos(Y / 7) + np.random.default_rng(2).normal(0, 0.05, DISC.shape)
    return np.where(DISC, low + np.clip(wave, 0, 1) * (high - low), padding).astype(kind)


def floats(path: Path, values: NDArray[Any], **elements: Any) -> Path:
    dataset = dcmread(dicom(path, RAMP))
    for keyword in ("PixelData", "PixelRepresentation", "BitsStored", "HighBit"):
        del dataset[keyword]
    dataset.Rows, dataset.Columns = values.shape
    dataset.BitsAllocated = 8 * values.itemsize
    setattr(dataset, "FloatPixelData" if values.itemsize == 4 else "DoubleFloatPixelData", values.tobytes())
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("prefix", ["Float", "DoubleFloat"])
@pytest.mark.parametrize(
    ("fill", "limit"), [(-9999.0, None), (2.0**100, None), (-9999.0, -9000.5), (-2.0, -9999.0), (0.0, None)]
)
def test_padding_of_floats_does_not_count(
    tmp_path: Path, kind: str, prefix: str, fill: float, limit: float | None
) -> None:
    values = np.linspace(-1, 1, 4095).repeat(2)[:4096].reshape(64, 64).astype(kind)
    values[:32] = fill
    if limit is not None:
        values[:32] = np.linspace(fill, limit, 32 * 64).reshape(32, 64)
    elements = {f"{prefix}PixelPaddingValue": fill} | ({f"{prefix}PixelPaddingRangeLimit": limit} if limit else {})
    path = floats(tmp_path / "a.dcm", values, **elements)
    measured = values != np.array(fill, kind) if limit is None else np.arange(64)[:, None].repeat(64, 1) >= 32
    np.testing.assert_allclose(grey(path), stretched(values.astype(float), measured), atol=1)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("gap", [np.nan, -np.inf, np.inf])
def test_values_that_are_not_finite_do_not_count(tmp_path: Path, kind: str, gap: float) -> None:
    values = np.linspace(-1, 1, 4096).reshape(64, 64).astype(kind)
    values[:40] = gap
    low, high = np.percentile(values[40:].astype(float), (0.5, 99.5))
    expected = np.round(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)
    expected[:40] = 255 if gap == np.inf else 0
    np.testing.assert_allclose(grey(floats(tmp_path / "a.dcm", values)), expected, atol=1)
    padded = floats(tmp_path / "b.dcm", values, FloatPixelPaddingValue=float(values[50, 0]))
    np.testing.assert_allclose(grey(padded), expected, atol=2)


def test_padding_of_floats_is_none_of_integers(tmp_path: Path) -> None:
    plain = grey(dicom(tmp_path / "a.dcm", RAMP))
    path = dicom(tmp_path / "b.dcm", RAMP, FloatPixelPaddingValue=9.0, DoubleFloatPixelPaddingValue=9.0)
    np.testing.assert_array_equal(grey(path), plain)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize(
    ("kind", "fill", "limit"), [("int16", -2000, None), ("uint16", 63536, None), ("int16", -2000, -1500)]
)
def test_padding_is_told_by_its_bits(
    tmp_path: Path, syntax: str, vr: str, kind: str, fill: int, limit: int | None
) -> None:
    values = slice_of(fill, 100, 1100, kind)
    if limit is not None:
        values[:4] = limit
    path = saved(tmp_path / "a.dcm", values, syntax, 16)
    dataset = dcmread(path)
    for keyword, value in (("PixelPaddingValue", fill), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            word = value % 65536
            dataset.add_new(keyword, vr, word - 65536 if vr == "SS" and word > 32767 else word)
    dataset.save_as(path)
    expected = stretched(values.astype(float), DISC & ((values > limit) if limit is not None else True))
    np.testing.assert_array_equal(grey(path), expected)


def test_padding_beyond_the_stored_bits_is_cut_as_pixels_are(tmp_path: Path) -> None:
    words = slice_of(0, 100, 2100, "uint16")
    words[~DISC] = 0xF830  # -2000, of which 12 bits are stored
    path = dicom(tmp_path / "a.dcm", words, PixelPaddingValue=0xF830)
    values = np.where(DISC, words, 0x0830).astype(float)
    np.testing.assert_array_equal(grey(path), stretched(values, DISC & (words != 0x0830)))


INSIDE = (Y - 64) ** 2 + (X - 64) ** 2 < 42**2


def far_from_the_bodys_own(path: Path, values: NDArray[Any]) -> float:
    """How far the grey lies, on average, from that of percentiles of the body before coding."""
    decoded = read_frame(path).stored.astype(float)
    low, high = np.percentile(values[DISC].astype(float), (0.5, 99.5))
    own = np.round(np.clip((decoded - low) / (high - low), 0, 1) * 255)
    return float(np.abs(grey(path) - own)[INSIDE].mean())


LOSSY = [(-2000, -1000, 1400), (-2000, -1024, 3000), (-1200, -1000, 400), (3000, -1000, 1400), (-32768, -1000, 2000)]


@pytest.mark.parametrize(("fill", "low", "high"), [*LOSSY, (-1025, -1024, 2000), (0, -1000, 2000)])
@pytest.mark.parametrize("ratio", [4, 10, 25])
def test_padding_after_jpeg_2000_does_not_count(tmp_path: Path, fill: int, low: int, high: int, ratio: float) -> None:
    values = slice_of(fill, low, high)
    path = compressed(tmp_path / "a.dcm", values, [jpeg_2000(values, 16, ratio)], JPEG2000, 16, PixelPaddingValue=fill)
    assert far_from_the_bodys_own(path, values) < 8
    # of a file that was decompressed since, LossyImageCompression alone is left
    unpacked = saved(
        tmp_path / "b.dcm", read_frame(path).stored, ExplicitVRLittleEndian, 16, PixelPaddingValue=fill,
        LossyImageCompression="01",
    )  # fmt: skip
    np.testing.assert_array_equal(grey(unpacked), grey(path))


@pytest.mark.parametrize(("fill", "low", "high"), [(0, 60, 200), (0, 30, 250), (255, 20, 200), (0, 0, 255), (0, 5, 90)])
@pytest.mark.parametrize("quality", [20, 40, 75, 95])
def test_padding_after_jpeg_does_not_count(tmp_path: Path, fill: int, low: int, high: int, quality: int) -> None:
    values = slice_of(fill, low, high, "uint8")
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=quality)
    path = compressed(tmp_path / "a.dcm", values, [file.getvalue()], JPEGBaseline8Bit, 8, PixelPaddingValue=fill)
    assert far_from_the_bodys_own(path, values) < 8


@pytest.mark.parametrize("limit", [-1800, -2200])
def test_a_range_of_padding_after_lossy_coding_does_not_count(tmp_path: Path, limit: int) -> None:
    values = slice_of(-2000, -1000, 1400)
    values[~DISC] = np.random.default_rng(1).integers(*sorted((-2000, limit)), (~DISC).sum())
    path = compressed(
        tmp_path / "a.dcm", values, [jpeg_2000(values, 16, 10)], JPEG2000, 16, PixelPaddingValue=-2000,
        PixelPaddingRangeLimit=limit,
    )  # fmt: skip
    assert far_from_the_bodys_own(path, values) < 8


@pytest.mark.parametrize("near", [0, 1, 3, 12])
@pytest.mark.parametrize("limit", [None, -1900])
def test_padding_after_jpeg_ls_lies_within_the_error_that_the_codestream_states(
    tmp_path: Path, near: int, limit: int | None
) -> None:
    # no encoder at hand writes an error above 0: here the values have it, and the codestream states it
    rng = np.random.default_rng(3)
    clean = slice_of(-2000, -1000, 1400)
    if limit is not None:
        clean = np.where(DISC, clean, rng.integers(-2000, limit + 1, DISC.shape)).astype(np.int16)
    values = (clean + rng.integers(-near, near + 1, clean.shape)).astype(np.int16)
    frame = bytearray(by_gdcm(values, JPEG_LS, 16))
    scan = frame.index(b"\xff\xda")
    assert frame[scan + 7] == 0
    path = compressed(
        tmp_path / "a.dcm", values, [bytes(frame)], JPEG_LS_NEAR, 16, PixelPaddingValue=-2000,
        **({} if limit is None else {"PixelPaddingRangeLimit": limit}),
    )  # fmt: skip
    if near == 0:
        np.testing.assert_array_equal(grey(path), stretched(values.astype(float), DISC))
        return
    from medscreen.data.dicom.codestreams import read_codestream
    from medscreen.data.dicom.headers import Header
    from medscreen.data.dicom.padding import padding

    frame[scan + 7] = near
    stream = read_codestream(bytes(frame), (128, 128, 1))
    assert stream is not None
    assert stream.near == near
    header = Header(dcmread(path), 0)
    header.coding_error = float(near)
    np.testing.assert_array_equal(padding(values, header), ~DISC)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEG_LOSSLESS, JPEG_LS])
def test_padding_after_lossless_coding_is_compared_exactly(tmp_path: Path, syntax: str) -> None:
    values = slice_of(-1001, -1000, 1400)
    frame = jpeg_2000(values, 16) if syntax == JPEG2000Lossless else by_gdcm(values, syntax, 16)
    path = compressed(tmp_path / "a.dcm", values, [frame], syntax, 16, PixelPaddingValue=-1001)
    np.testing.assert_array_equal(grey(path), stretched(values.astype(float), DISC))
    stated = compressed(
        tmp_path / "b.dcm", values, [jpeg_2000(values, 16)], JPEG2000, 16, PixelPaddingValue=-1001,
        LossyImageCompression="00",
    )  # fmt: skip
    np.testing.assert_array_equal(grey(stated), grey(path))


def test_nothing_but_padding_after_lossy_coding_is_shown(tmp_path: Path) -> None:
    values = np.where(X < 60, 0, 5).astype(np.uint8)
    path = dicom(tmp_path / "a.dcm", values, bits=8, PixelPaddingValue=0, PixelPaddingRangeLimit=9)
    stated = dicom(
        tmp_path / "b.dcm", values, bits=8, PixelPaddingValue=0, PixelPaddingRangeLimit=9, LossyImageCompression="01"
    )
    np.testing.assert_array_equal(grey(stated), grey(path))
