import csv
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from factories import dicom, real_data, written
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.display import to_square
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_grey

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def linear(values: NDArray[Any], centre: float, width: float) -> NDArray[np.uint8]:
    """The LINEAR window of DICOM PS3.3 C.11.2.1.2.1, to 0..255."""
    shown = (values.astype(float) - (centre - 0.5)) / (width - 1) + 0.5
    return np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8)


def shown(path: Path) -> NDArray[np.uint8]:
    return read_grey(path, FILE_DISPLAY)


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as error:
        shown(path)
    reason = str(error.value)
    assert 0 < len(reason) <= 200
    assert "\n" not in reason
    assert str(path.parent) not in reason
    return reason


def test_a_window_maps_its_ends_to_black_and_white(tmp_path: Path) -> None:
    grey = shown(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2000, WindowWidth=1000))
    np.testing.assert_array_equal(grey, linear(RAMP, 2000, 1000))
    assert grey.dtype == np.uint8
    assert (grey.flat[1499], grey.flat[2500]) == (0, 255)


def test_the_window_is_in_rescaled_values(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    np.testing.assert_array_equal(shown(path), linear(RAMP * 2.0 - 1024, 40, 400))


def test_a_slope_below_zero_reverses_nothing_inside_the_window(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2000, WindowWidth=1000)
    np.testing.assert_array_equal(shown(path), linear(4095.0 - RAMP, 2000, 1000))


def test_of_several_windows_the_first_is_used(tmp_path: Path) -> None:
    several = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=[1000, 3000], WindowWidth=[500, 2000])
    np.testing.assert_array_equal(shown(several), linear(RAMP, 1000, 500))


def test_a_linear_exact_window_is_read(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")
    expected = np.clip((RAMP - 1500.0) / 1000, 0, 1) * 255
    np.testing.assert_allclose(shown(path), expected, atol=0.51)


def test_a_sigmoid_window_is_read(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 2000.0) / 1000))
    np.testing.assert_allclose(shown(path), expected, atol=0.51)


def test_a_voi_lut_goes_before_a_window(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 10]
    table = np.round(1023 * (np.arange(4096) / 4095) ** 2).astype("<u2")
    lut.add_new("LUTData", "OW", table.tobytes())
    path = dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([lut]), WindowCenter=1, WindowWidth=2)
    np.testing.assert_array_equal(shown(path), np.round(table[RAMP] / 1023 * 255))


def test_a_modality_lut_goes_before_the_window(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 16]
    lut.add_new("LUTData", "OW", (RAMP.ravel() * 10).astype("<u2").tobytes())
    path = dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=Sequence([lut]), WindowCenter=20000, WindowWidth=10000)
    np.testing.assert_array_equal(shown(path), linear(RAMP * 10.0, 20000, 10000))


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 1000}])
def test_monochrome1_is_the_inverse_of_monochrome2(tmp_path: Path, window: dict[str, int]) -> None:
    normal = shown(dicom(tmp_path / "2.dcm", RAMP, **window))
    inverse = shown(dicom(tmp_path / "1.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **window))
    np.testing.assert_array_equal(inverse, 255 - normal)


def test_signed_values_are_read(tmp_path: Path) -> None:
    stored = RAMP.astype(np.int16) - 2048
    grey = shown(dicom(tmp_path / "a.dcm", stored, bits=16, WindowCenter=0, WindowWidth=1000))
    np.testing.assert_array_equal(grey, linear(stored, 0, 1000))


def test_of_several_frames_the_middle_one_is_shown(tmp_path: Path) -> None:
    frames = np.stack([np.roll(RAMP, shift) for shift in (0, 100, 200)])
    one = dicom(tmp_path / "one.dcm", frames[1])
    np.testing.assert_array_equal(shown(dicom(tmp_path / "all.dcm", frames)), shown(one))


@pytest.mark.parametrize("empty", [{}, {"WindowCenter": None, "WindowWidth": None}])
def test_without_a_window_percentiles_span_the_display(tmp_path: Path, empty: dict[str, None]) -> None:
    stored = RAMP // 2
    stored[0, 0] = 4095
    low, high = np.percentile(stored, (0.5, 99.5))
    expected = np.round(np.clip((stored - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(shown(dicom(tmp_path / "a.dcm", stored, **empty)), expected)


def test_percentiles_that_coincide_give_way_to_the_extremes(tmp_path: Path) -> None:
    stored = np.zeros((64, 64), np.uint16)
    stored[3, 4] = 1000
    grey = shown(dicom(tmp_path / "a.dcm", stored))
    assert grey[3, 4] == 255
    assert np.count_nonzero(grey) == 1


def test_colours_become_their_luminance(tmp_path: Path) -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    rgb[:4] = (255, 0, 0)
    rgb[4:] = (10, 200, 30)
    path = dicom(
        tmp_path / "a.dcm", rgb[..., 0], bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, PixelData=rgb.tobytes(),
    )  # fmt: skip
    np.testing.assert_array_equal(shown(path), np.asarray(Image.fromarray(rgb).convert("L")))


def test_palette_colours_become_their_luminance(tmp_path: Path) -> None:
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shades = np.random.default_rng(5).integers(0, 256, (256, 3)).astype(np.uint8)
    elements: dict[str, Any] = {}
    for column, colour in enumerate(("Red", "Green", "Blue")):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{colour}PaletteColorLookupTableData"] = (shades[:, column].astype("<u2") * 257).tobytes()
    path = dicom(tmp_path / "a.dcm", index, bits=8, PhotometricInterpretation="PALETTE COLOR", **elements)
    expected = np.asarray(Image.fromarray(shades[index]).convert("L"))
    np.testing.assert_allclose(shown(path).astype(int), expected.astype(int), atol=1)


def test_dicom_is_told_by_content(tmp_path: Path) -> None:
    path = dicom(tmp_path / "film.png", RAMP, WindowCenter=2000, WindowWidth=1000)
    np.testing.assert_array_equal(shown(path), linear(RAMP, 2000, 1000))


def test_dicom_without_pixels_is_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    assert refusal(path) == "the DICOM file has no pixel data"


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_truncated_dicom_is_refused(tmp_path: Path, kept: float) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refusal(path)


@pytest.mark.parametrize("value", [0, 77])
def test_blank_dicom_is_refused(tmp_path: Path, value: int) -> None:
    blank = np.full((32, 32), value, np.uint16)
    assert "same gray value" in refusal(dicom(tmp_path / "a.dcm", blank))


def test_a_window_beside_all_values_is_refused(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=9000, WindowWidth=100)
    assert "same gray value (0)" in refusal(path)


def test_a_window_without_width_is_refused(tmp_path: Path) -> None:
    assert "Window Width" in refusal(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=100, WindowWidth=0))


def test_a_16_bit_png_spans_its_percentiles(tmp_path: Path) -> None:
    values = (RAMP * 3 + 500).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.round(np.clip((values - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(shown(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_8_bit_grey_comes_back_as_it_is(tmp_path: Path, suffix: str) -> None:
    grey = (RAMP % 256).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(shown(tmp_path / f"a.{suffix}"), grey)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("RGB", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("CMYK", "tif"), ("1", "png")]
)
def test_other_modes_become_their_luminance(tmp_path: Path, mode: str, suffix: str) -> None:
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)).convert(mode)
    path = tmp_path / f"a.{suffix}"
    picture.save(path)
    np.testing.assert_array_equal(shown(path), np.asarray(picture.convert("RGB").convert("L")))


def test_float_pictures_are_stretched(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 4096, dtype=np.float32).reshape(64, 64)).save(tmp_path / "a.tif")
    grey = shown(tmp_path / "a.tif")
    assert (grey.min(), grey.max()) == (0, 255)
    assert (np.diff(grey.ravel().astype(int)) >= 0).all()


def test_a_float_picture_of_nothing_but_nan_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(tmp_path / "a.tif")
    refusal(tmp_path / "a.tif")


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path, side: int) -> None:
    assert "decompression bomb" in refusal(written(tmp_path / "a.png", png_header(side, side)))


@pytest.mark.parametrize("content", ["no picture at all\n", "", "x" * 500, b"\x89PNG\r\n\x1a\n", b"\0" * 128 + b"DICM"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: str | bytes) -> None:
    refusal(written(tmp_path / "a.png", content))


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refusal(path)


def test_a_blank_picture_is_refused(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 200).save(tmp_path / "a.png")
    assert refusal(tmp_path / "a.png") == "every pixel has the same gray value (200)"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "absent.png")
    refusal(tmp_path)


@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (11, 30), (30, 11)])
def test_the_central_square_is_cut_out(shape: tuple[int, int]) -> None:
    grey = np.add.outer(np.arange(shape[0]), np.arange(shape[1])).astype(np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    np.testing.assert_array_equal(to_square(grey, side), grey[top : top + side, left : left + side])


@pytest.mark.parametrize("size", [5, 16, 64, 100])
def test_a_square_is_resized_with_a_triangle_filter(size: int) -> None:
    grey = np.random.default_rng(2).integers(0, 256, (40, 40)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(to_square(grey, size), expected)


def test_an_image_of_that_size_is_untouched() -> None:
    grey = np.random.default_rng(2).integers(0, 256, (28, 28)).astype(np.uint8)
    np.testing.assert_array_equal(to_square(grey, 28), grey)


@pytest.mark.parametrize("grey", [0, 1, 93])
def test_a_constant_image_is_refused_at_any_size(grey: int) -> None:
    for size in (1, 7, 30, 33):
        with pytest.raises(UnreadableImageError, match="gray"):
            to_square(np.full((30, 30), grey, np.uint8), size)


def expected_files() -> list[dict[str, str]]:
    with real_data("dicom", "EXPECTED.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_slice_looks_alike_in_every_lossless_syntax() -> None:
    folder = real_data("dicom", "transfer_syntaxes")
    expected = {row["path"]: row for row in expected_files()}
    reference = shown(folder / "CTImage.dcm")
    twins = 0
    for path in sorted(folder.glob("CTImage.dcm_*")):
        row = expected[f"transfer_syntaxes/{path.name}"]
        if row["md5"] != expected["transfer_syntaxes/CTImage.dcm"]["md5"]:
            continue
        try:
            grey = shown(path)
        except UnreadableImageError as error:
            assert "medscreen[dicom]" in str(error)
            continue
        np.testing.assert_array_equal(grey, reference, err_msg=path.name)
        twins += 1
    assert twins >= 5


def test_a_real_slice_is_windowed_in_hounsfield_units() -> None:
    path = real_data("dicom", "ct_3slice_dcmqi", "01.dcm")
    values = dcmread(path).pixel_array.astype(float) - 1024
    np.testing.assert_allclose(shown(path).astype(int), linear(values, 40, 400).astype(int), atol=1)


def test_a_real_film_tagged_monochrome1_is_the_inverse_of_its_twin() -> None:
    folder = real_data("dicom", "chest_xray_torchxrayvision")
    inverse = folder / "Fake_MONOHR1.dcm"
    (twin,) = [path for path in folder.glob("*.dcm") if path != inverse]
    np.testing.assert_array_equal(shown(inverse), 255 - shown(twin))


def test_real_films_and_photographs_are_read() -> None:
    for folder in (("chest_xray", "val", "NORMAL"), ("brain_mri_br35h", "no")):
        for path in sorted(real_data(*folder).iterdir())[:10]:
            grey = shown(path)
            with Image.open(path) as picture:
                assert grey.shape == picture.size[::-1]
            assert to_square(grey, 64).std() > 5


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("preamble", [False, True])
@pytest.mark.parametrize("meta", [False, True])
def test_a_file_that_names_no_transfer_syntax_is_read_by_its_first_element(
    tmp_path: Path, implicit: bool, preamble: bool, meta: bool
) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    expected, dataset = shown(path), dcmread(path)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, implicit
    write_dataset(buffer, dataset)
    group_2 = b"\x02\0\1\0OB\0\0\2\0\0\0\0\1" if meta else b""  # its version alone
    path.write_bytes((bytes(128) + b"DICM" if preamble else b"") + group_2 + buffer.getvalue())
    np.testing.assert_array_equal(shown(path), expected)
