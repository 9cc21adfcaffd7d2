"""Decoders held against the standard, on frames encoded here: signs, bits, and headers that state others."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit

from dicom_encoders import JPEG_LOSSLESS, JPEG_LS, JPEG_LS_NEAR, by_gdcm, jpeg_2000
from dicom_files import RAMP, compressed, grey, linear, reason
from factories import dicom
from medscreen.data.dicom.frames import read_frame

BITS = (1, 4, 7, 8, 9, 12, 15, 16)


def values_of(bits: int, signed: bool, seed: int = 0) -> NDArray[Any]:
    """Random values (64, 48) that use all these bits."""
    low = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(seed).integers(low, low + 2**bits, (64, 48))
    values[0, :2] = low, low + 2**bits - 1
    return values.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def decoded_by(plugin: str, frame: bytes, syntax: str, bits: int, values: NDArray[Any]) -> NDArray[Any]:
    options: dict[str, Any] = {
        "rows": values.shape[0], "columns": values.shape[1], "samples_per_pixel": 1, "number_of_frames": 1,
        "bits_allocated": 8 * values.itemsize, "bits_stored": bits, "photometric_interpretation": "MONOCHROME2",
        "pixel_representation": int(values.dtype.kind == "i"), "pixel_keyword": "PixelData", "pixel_vr": "OW",
    }  # fmt: skip
    decoder = get_decoder(UID(syntax))
    return np.asarray(decoder.as_array(encapsulate([frame]), index=0, decoding_plugin=plugin, **options)[0])


@pytest.mark.parametrize("plugin", ["pillow", "pylibjpeg", "gdcm"])
@pytest.mark.parametrize("signed", [False, True])
def test_every_decoder_of_jpeg_2000_is_right_where_it_is_told_the_sign_of_the_codestream(
    plugin: str, signed: bool
) -> None:
    for bits in BITS:
        values = values_of(bits, signed)
        frame = jpeg_2000(values, bits)
        if plugin not in get_decoder(UID(JPEG2000Lossless)).available_plugins:
            pytest.skip(f"{plugin} is not installed")
        np.testing.assert_array_equal(decoded_by(plugin, frame, JPEG2000Lossless, bits, values), values)


def test_a_decoder_that_is_told_the_sign_of_the_header_is_not() -> None:
    # why the codestream's own sign is what decoders are told: two of three disagree otherwise
    values = values_of(11, signed=False).astype(np.int16)
    frame = jpeg_2000(values, 12)
    told = decoded_by("pillow", frame, JPEG2000Lossless, 12, values.astype(np.uint16))
    np.testing.assert_array_equal(told, values + 2048)


@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, JPEG_LS, JPEG_LS_NEAR])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_lossless_and_jpeg_ls_have_the_sign_of_the_header(
    tmp_path: Path, syntax: str, bits: int, signed: bool
) -> None:
    values = values_of(bits, signed)
    frame = by_gdcm(values, syntax, bits)
    path = compressed(tmp_path / "a.dcm", values, [frame], syntax, bits)
    np.testing.assert_array_equal(read_frame(path).stored, values)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("stated", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("header_signed", [False, True])
def test_jpeg_2000_under_another_header_keeps_what_both_can_mean(
    tmp_path: Path, bits: int, stated: int, signed: bool, header_signed: bool
) -> None:
    """Values that fit the codestream's kind and the header's: any sign, precision and BitsStored of the two."""
    fit = min(bits - signed, stated - header_signed)
    values = values_of(bits, signed) & (2**fit - 1) if not (signed and header_signed) else values_of(bits, signed)
    if signed and header_signed and bits > stated:
        values = values >> (bits - stated)
    header = np.zeros(values.shape, f"{'i' if header_signed else 'u'}{1 if stated <= 8 else 2}")
    path = compressed(tmp_path / "a.dcm", header, [jpeg_2000(values, bits)], JPEG2000Lossless, stated)
    np.testing.assert_array_equal(read_frame(path).stored.astype(int), values.astype(int))


@pytest.mark.parametrize("bits", [8, 12, 13, 16])
def test_a_sign_that_the_codestream_lacks_is_the_headers(tmp_path: Path, bits: int) -> None:
    # two's complement in a codestream without a sign, as of JPEG 2000 from some scanners
    values = values_of(bits, signed=True)
    unsigned = (values.astype(int) % 2**bits).astype(f"u{values.itemsize}")
    path = compressed(tmp_path / "a.dcm", values, [jpeg_2000(unsigned, bits)], JPEG2000Lossless, bits)
    np.testing.assert_array_equal(read_frame(path).stored, values)
    signed = compressed(tmp_path / "b.dcm", unsigned, [jpeg_2000(values, bits)], JPEG2000Lossless, bits)
    np.testing.assert_array_equal(read_frame(signed).stored, unsigned)


def test_a_signed_codestream_under_an_unsigned_header_is_rescaled_and_windowed(tmp_path: Path) -> None:
    values = (RAMP // 2).astype(np.int16)
    path = compressed(
        tmp_path / "a.dcm", RAMP, [jpeg_2000(values, 12)], JPEG2000Lossless, 12, Modality="CT", RescaleSlope=1,
        RescaleIntercept=-1024, WindowCenter=40, WindowWidth=4000,
    )  # fmt: skip
    np.testing.assert_array_equal(grey(path), linear(values - 1024.0, 40, 4000))


def baseline(values: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=100)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "bits"), [("uint16", 8), ("uint16", 12), ("uint16", 16), ("int16", 16), ("uint8", 8)])
def test_jpeg_of_8_bits_is_read_whatever_bits_are_allocated(tmp_path: Path, kind: str, bits: int) -> None:
    values = (RAMP >> 4).astype(np.uint8)
    path = compressed(
        tmp_path / "a.dcm", values.astype(kind), [baseline(values)], JPEGBaseline8Bit, bits, WindowCenter=128,
        WindowWidth=256,
    )  # fmt: skip
    np.testing.assert_allclose(grey(path), values.astype(int), atol=2)


def test_colors_of_a_jpeg_of_8_bits_reach_white_in_16_allocated_bits(tmp_path: Path) -> None:
    rgb = np.full((64, 64, 3), 255, np.uint8)
    rgb[:32] = 10
    path = compressed(
        tmp_path / "a.dcm", RAMP, [baseline(rgb)], JPEGBaseline8Bit, 12, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="YBR_FULL_422",
    )  # fmt: skip
    np.testing.assert_allclose(grey(path), rgb[..., 0].astype(int), atol=2)


@pytest.mark.parametrize("bits", [8, 12])
def test_colors_of_jpeg_2000_reach_white_whatever_bits_are_stored(tmp_path: Path, bits: int) -> None:
    openjpeg = pytest.importorskip("openjpeg.utils", reason="needs the extra medscreen[dicom]")
    rgb = np.sort(np.random.default_rng(0).integers(0, 256, (64, 64, 3)), axis=0).astype(np.uint8)
    samples = rgb if bits == 8 else rgb.astype(np.uint16) * 16
    frame = bytes(openjpeg.encode_array(samples, bits_stored=bits, photometric_interpretation=1, use_mct=False))
    path = compressed(
        tmp_path / "a.dcm", RAMP, [frame], JPEG2000Lossless, 16, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
    )  # fmt: skip
    np.testing.assert_allclose(grey(path), np.asarray(Image.fromarray(rgb).convert("L")).astype(int), atol=1)


def test_bits_that_a_decoder_does_not_support_are_not_damage(tmp_path: Path) -> None:
    pytest.importorskip("gdcm", reason="needs the extra medscreen[dicom]")
    frame = bytearray(by_gdcm((RAMP >> 4).astype(np.uint8), JPEG_LS, 8))
    frame[frame.index(b"\xff\xf7") + 4] = 7
    message = reason(compressed(tmp_path / "a.dcm", (RAMP >> 5).astype(np.uint8), [bytes(frame)], JPEG_LS, 7))
    assert "unsupported for 1 samples of 7 bits" in message
    assert "damaged" not in message
    frame = bytearray(baseline((RAMP >> 4).astype(np.uint8)))
    frame[frame.index(b"\xff\xc0") + 4] = 10
    assert "unsupported" in reason(compressed(tmp_path / "b.dcm", RAMP, [bytes(frame)], JPEGBaseline8Bit, 10))


def test_a_cut_codestream_is_damage(tmp_path: Path) -> None:
    frame = jpeg_2000(RAMP, 12)
    assert "damaged" in reason(compressed(tmp_path / "a.dcm", RAMP, [frame[:200]], JPEG2000Lossless, 12))


def test_samples_of_several_kinds_in_a_codestream_are_unsupported(tmp_path: Path) -> None:
    frame = bytearray(jpeg_2000(RAMP, 12))
    at = frame.index(b"\xff\x51")
    # two components are declared, of 12 and 8 bits
    broken = bytes(frame[: at + 38]) + b"\0\2\x0b\1\1\x07\1\1" + bytes(frame[at + 43 :])
    assert "differ in precision" in reason(compressed(tmp_path / "a.dcm", RAMP, [broken], JPEG2000Lossless, 12))


def test_what_decoders_of_the_extra_see_is_what_is_stored(tmp_path: Path) -> None:
    values = values_of(12, signed=True)
    dataset = dcmread(dicom(tmp_path / "a.dcm", values, bits=12))
    for syntax in (JPEG_LOSSLESS, JPEG_LS):
        path = compressed(tmp_path / "b.dcm", values, [by_gdcm(values, syntax, 12)], syntax, 12)
        np.testing.assert_array_equal(read_frame(path).stored, dataset.pixel_array)
