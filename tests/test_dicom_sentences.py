"""What is unsupported or missing is called so, with the way out; "damaged" is only what is damaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from dicom_files import RAMP, compressed, grey, linear, reason, saved
from factories import dicom


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_missing_photometric_interpretation_is_not_damage(tmp_path: Path, value: str | None) -> None:
    path = saved(tmp_path / "a.dcm", RAMP, ExplicitVRLittleEndian, 12, PhotometricInterpretation=value)
    expected = "its PhotometricInterpretation, which states whether 0 is black or white, is missing"
    assert reason(path).startswith(expected)
    dataset = dcmread(path)
    del dataset.PhotometricInterpretation
    dataset.save_as(path)
    assert reason(path).startswith(expected)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PhotometricInterpretation": "HSV"}, "PhotometricInterpretation is unsupported for SamplesPerPixel 1"),
        ({"PhotometricInterpretation": "RGB"}, "PhotometricInterpretation is unsupported for SamplesPerPixel 1"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "CMYK"}, "unsupported for SamplesPerPixel 3"),
        ({"SamplesPerPixel": 3}, "unsupported for SamplesPerPixel 3"),
        ({"SamplesPerPixel": 4, "PhotometricInterpretation": "ARGB"}, "SamplesPerPixel is unsupported"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel is unsupported"),
        ({"PixelRepresentation": 2}, "PixelRepresentation is neither 0 nor 1"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 2}, "neither 0 nor 1"),
        ({"BitsStored": 17}, "contradict each other"),
        ({"BitsStored": 0}, "contradict each other"),
        ({"HighBit": 16}, "contradict each other"),
        ({"BitsAllocated": 12}, "BitsAllocated is unsupported"),
        ({"BitsAllocated": 24}, "BitsAllocated is unsupported"),
    ],
)  # fmt: skip
def test_a_header_that_is_not_read_is_not_damage(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    found = reason(saved(tmp_path / "a.dcm", RAMP, ExplicitVRLittleEndian, 12, **elements))
    assert message in found
    assert "damaged" not in found


@pytest.mark.parametrize("syntax", [f"1.2.840.10008.1.2.4.{number}" for number in (53, 55, 100, 102, 107, 110)])
def test_a_transfer_syntax_without_a_decoder_is_not_damage(tmp_path: Path, syntax: str) -> None:
    stated = "1.2.840.10008.1.2.4.100" if len(syntax) == 23 else JPEG2000Lossless
    path = compressed(tmp_path / "a.dcm", np.stack([RAMP] * 3), [b"\0\0\1\xb3" + bytes(100)], stated, 12)
    path.write_bytes(path.read_bytes().replace(stated.encode(), syntax.encode()))  # pydicom does not know all of them
    found = reason(path)
    assert "has no decoder here; convert it, for instance with gdcmconv or dcmdjpeg" in found


def test_what_is_no_codestream_is_damage(tmp_path: Path) -> None:
    found = reason(compressed(tmp_path / "a.dcm", RAMP, [bytes(500)], JPEG2000Lossless, 12))
    assert found == "its pixel data (JPEG 2000 Image Compression (Lossless Only)) is damaged"


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [1, 5, 8])
def test_any_number_of_stored_bits_is_read(tmp_path: Path, bits: int, signed: bool) -> None:
    values = np.random.default_rng(1).integers(0, 2**bits, (64, 64)) - (2 ** (bits - 1) if signed else 0)
    stored = values.astype(np.int16 if signed else np.uint16)
    path = dicom(tmp_path / "a.dcm", stored, bits=bits, WindowCenter=float(values.mean()), WindowWidth=2**bits)
    dataset = dcmread(path)
    assert dataset.BitsStored == bits
    np.testing.assert_array_equal(grey(path), linear(values, float(dataset.WindowCenter), 2**bits))
