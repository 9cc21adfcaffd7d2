"""Palettes: all colors or those from a value on, of 8 or 16 bits, with any first value, segmented or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian

from dicom_files import NATIVE, RAMP, grey, linear, reason, saved, stretched
from medscreen.config.display import DisplayParams

SHADES = np.random.default_rng(5).integers(0, 256, (256, 3)).astype(np.uint8)
COLORS = ("Red", "Green", "Blue")


def palette(shades: NDArray[Any], syntax: str, first: int = 0, bits: int = 16, packed: bool = False) -> dict[str, Any]:
    """The elements of a palette of 8-bit shades."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    elements: dict[str, Any] = {}
    for column, color in enumerate(COLORS):
        words = shades[:, column].astype("<u2")
        if packed:
            content = np.frombuffer(shades[:, column].tobytes() + b"\0" * (len(shades) % 2), "<u2")
            words = content
        elif bits == 16:
            words = words * 257
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [len(shades), first, bits]
        elements[f"{color}PaletteColorLookupTableData"] = words.astype(f"{order}u2").tobytes()
    return elements


def shown(path: Path, stored: NDArray[Any], syntax: str, bits: int, **elements: Any) -> NDArray[np.int64]:
    saved(path, stored, syntax, bits, PhotometricInterpretation="PALETTE COLOR", **elements)
    return grey(path)


def luminance(colors: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(Image.fromarray(colors).convert("L")).astype(np.int64)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("first", [0, 10, -5, -300])
@pytest.mark.parametrize(("bits", "packed"), [(16, False), (8, False), (8, True)])
def test_a_palette_is_read(tmp_path: Path, syntax: str, first: int, bits: int, packed: bool) -> None:
    stored = (RAMP.astype(int) % 300 + first - 10).astype(np.int16)
    elements = palette(SHADES, syntax, first, bits, packed)
    got = shown(tmp_path / "a.dcm", stored, syntax, 16, **elements)
    expected = luminance(SHADES[np.clip(stored.astype(int) - first, 0, 255)])
    np.testing.assert_allclose(got, expected, atol=1)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize(("bits", "packed"), [(16, False), (8, False), (8, True)])
@pytest.mark.parametrize("presentation", ["COLOR", "MIXED"])
@pytest.mark.parametrize("window", [True, False])
def test_a_supplemental_palette_colors_the_values_from_its_first_on(
    tmp_path: Path, syntax: str, bits: int, packed: bool, presentation: str, window: bool
) -> None:
    stored = (RAMP % 512).astype(np.uint16)
    elements = palette(SHADES, syntax, 256, bits, packed) | {"PixelPresentation": presentation}
    if window:
        elements |= {"WindowCenter": 128, "WindowWidth": 256}
    path = saved(tmp_path / "a.dcm", stored, syntax, 9, **elements)
    colored = stored >= 256
    plain = linear(stored, 128, 256) if window else stretched(stored.astype(float), ~colored)
    expected = np.where(colored, luminance(SHADES[np.clip(stored.astype(int) - 256, 0, 255)]), plain)
    np.testing.assert_allclose(grey(path), expected, atol=1)


def test_a_palette_that_is_not_for_color_leaves_grey(tmp_path: Path) -> None:
    stored = (RAMP % 512).astype(np.uint16)
    elements = palette(SHADES, NATIVE[1], 256)
    elements |= {"WindowCenter": 256, "WindowWidth": 512}
    for presentation in ({}, {"PixelPresentation": "MONOCHROME"}):
        path = saved(tmp_path / "a.dcm", stored, NATIVE[1], 9, **elements, **presentation)
        np.testing.assert_array_equal(grey(path), linear(stored, 256, 512))


def segmented(syntax: str, segments: list[int], bits: int) -> dict[str, Any]:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if bits == 8:
        content = np.frombuffer(np.array(segments + [0] * (len(segments) % 2), np.uint8).tobytes(), "<u2")
    else:
        content = np.array(segments, np.uint16)
    elements: dict[str, Any] = {}
    for color in COLORS:
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        elements[f"Segmented{color}PaletteColorLookupTableData"] = content.astype(f"{order}u2").tobytes()
    return elements


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("bits", [8, 16])
def test_a_segmented_palette_is_read_in_every_byte_order(tmp_path: Path, syntax: str, bits: int) -> None:
    white = 255 if bits == 8 else 65535
    stored = (RAMP % 256).astype(np.uint8)
    got = shown(tmp_path / "a.dcm", stored, syntax, 8, **segmented(syntax, [0, 2, 0, 1, 1, 254, white], bits))
    expected = np.concatenate([[0, 1], np.linspace(1, white, 255)[1:]])[stored] / white * 255
    np.testing.assert_allclose(got, expected, atol=1)


@pytest.mark.parametrize(
    ("segments", "message"),
    [([0, 2, 0, 1], "fewer entries"), ([2, 1, 0, 0], "unsupported type"), ([1, 5, 9], "unsupported type"),
     ([], "LookupTableData of its header is missing")],
)  # fmt: skip
def test_a_segmented_palette_that_is_not_whole_is_named(tmp_path: Path, segments: list[int], message: str) -> None:
    path = saved(
        tmp_path / "a.dcm", (RAMP % 256).astype(np.uint8), NATIVE[1], 8, PhotometricInterpretation="PALETTE COLOR",
        **segmented(NATIVE[1], segments, 16),
    )  # fmt: skip
    assert message in reason(path)


def test_a_palette_without_descriptor_or_data_is_named(tmp_path: Path) -> None:
    elements = palette(SHADES, NATIVE[1])
    for missing in elements:
        path = saved(
            tmp_path / "a.dcm", (RAMP % 256).astype(np.uint8), NATIVE[1], 8, PhotometricInterpretation="PALETTE COLOR",
            **{name: value for name, value in elements.items() if name != missing},
        )  # fmt: skip
        assert f"{missing} of its header is missing" in reason(path)


def test_colors_have_no_window_and_a_mixture_keeps_its_colors(tmp_path: Path) -> None:
    stored = (RAMP % 512).astype(np.uint16)
    elements = palette(SHADES, NATIVE[1], 256) | {"PixelPresentation": "COLOR"}
    path = saved(
        tmp_path / "a.dcm", stored, NATIVE[1], 9, Modality="CT", RescaleSlope=1, RescaleIntercept=-100, **elements
    )
    got = grey(path, display=DisplayParams(window="soft_tissue", burned_in="count"))
    np.testing.assert_allclose(got[stored >= 256], luminance(SHADES[stored[stored >= 256] - 256][None])[0], atol=1)
    np.testing.assert_array_equal(got[stored < 256], linear(stored - 100.0, 40, 400)[stored < 256])
