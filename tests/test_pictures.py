"""Pictures of every mode come out right, and what is none is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from factories import written
from medscreen.ingestion import UnreadableImageError, read_image
from medscreen.params import FILE_DISPLAY, DisplayParams

GREY = np.add.outer(np.arange(12) * 15, np.arange(20) * 4).astype(np.uint8)  # no two sides alike
DEEP = GREY.astype(np.uint16) * 200 + 99


def shown(path: Path) -> np.ndarray:
    return read_image(path, FILE_DISPLAY).grey


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableImageError) as error:
        shown(path)
    assert str(path.parent) not in str(error.value)
    return str(error.value)


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (0.5, 99.5))
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_of_either_byte_order(tmp_path: Path, order: str) -> None:
    mode = {"<": "I;16", ">": "I;16B"}[order]
    picture = Image.frombytes(mode, DEEP.shape[::-1], DEEP.astype(f"{order}u2").tobytes())
    picture.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), stretched(DEEP))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_32_bit_pictures(tmp_path: Path, kind: type) -> None:
    values = (DEEP.astype(kind) - 20000) * 3
    Image.fromarray(values).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), stretched(values.astype(float)))


def test_a_16_bit_tiff_whose_white_is_zero_is_inverted(tmp_path: Path) -> None:
    for values in (GREY, DEEP):
        Image.fromarray(values).save(tmp_path / "normal.tif")
        content = (tmp_path / "normal.tif").read_bytes()
        photometric = b"\x06\x01\x03\0\x01\0\0\0"  # tag 262, one short
        assert content.count(photometric + b"\x01") == 1
        written(tmp_path / "inverse.tif", content.replace(photometric + b"\x01", photometric + b"\0"))
        np.testing.assert_array_equal(shown(tmp_path / "inverse.tif"), 255 - shown(tmp_path / "normal.tif"))


def test_what_is_transparent_lies_before_black(tmp_path: Path) -> None:
    alpha = np.tile(np.array([0, 128, 255, 255], np.uint8), 5)[None].repeat(12, axis=0)
    expected = np.round(GREY.astype(float) * alpha / 255)
    rgba = np.dstack([GREY, GREY, GREY, alpha])
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([GREY, alpha])).save(tmp_path / "la.png")
    for name in ("rgba", "la"):
        np.testing.assert_allclose(shown(tmp_path / f"{name}.png").astype(float), expected, atol=1)


def test_a_palette_with_and_without_a_transparent_colour(tmp_path: Path) -> None:
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 255)]
    index = (np.arange(240) % 4).astype(np.uint8).reshape(12, 20)
    picture = Image.frombytes("P", (20, 12), index.tobytes())
    picture.putpalette([part for colour in colours for part in colour])
    luminance = np.array([0, 76, 150, 255])
    picture.save(tmp_path / "plain.png")
    np.testing.assert_allclose(shown(tmp_path / "plain.png").astype(int), luminance[index], atol=1)
    picture.save(tmp_path / "clear.png", transparency=3)
    luminance[3] = 0
    np.testing.assert_allclose(shown(tmp_path / "clear.png").astype(int), luminance[index], atol=1)
    picture.save(tmp_path / "clear.gif", transparency=3)
    np.testing.assert_allclose(shown(tmp_path / "clear.gif").astype(int), luminance[index], atol=1)


def test_cmyk_and_bilevel_pictures(tmp_path: Path) -> None:
    Image.fromarray(GREY).convert("RGB").convert("CMYK").save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(shown(tmp_path / "a.jpg").astype(int), GREY, atol=4)
    Image.fromarray(GREY > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(shown(tmp_path / "a.png"), np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_rotated_pictures_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    back = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for values in (GREY,) if suffix == "jpg" else (GREY, DEEP):
        stored = np.ascontiguousarray(back[orientation](values))
        options = {"quality": 100} if suffix == "jpg" else {}
        Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, **options)
        expected = values if values is GREY else stretched(values)
        grey = shown(tmp_path / f"a.{suffix}").astype(int)
        np.testing.assert_allclose(grey, expected, atol=3 if suffix == "jpg" else 0)


@pytest.mark.parametrize(("name", "codec"), [("a.dcm", "PNG"), ("a.png", "JPEG"), ("a.jpg", "BMP"), ("a", "TIFF")])
def test_a_lying_extension_is_read_by_content(tmp_path: Path, name: str, codec: str) -> None:
    options = {"quality": 100} if codec == "JPEG" else {}
    Image.fromarray(GREY).save(tmp_path / name, codec, **options)
    np.testing.assert_allclose(shown(tmp_path / name).astype(int), GREY, atol=3)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        ("\ufeff\n <HTML>\n<head>", "an HTML page"),
        ("<?xml version='1.0'?><svg/>", "XML"),
        ("%PDF-1.7 ...", "a PDF document"),
        (b"PK\x03\x04....", "an archive"),
        ("", "the file is empty"),
        ("Thumbs", "no image of a kind that is read"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(tmp_path: Path, content: str | bytes, what: str) -> None:
    assert what in refusal(written(tmp_path / "film.jpg", content))


@pytest.mark.parametrize("codec", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_picture_that_is_cut_short_is_refused(tmp_path: Path, codec: str, kept: float) -> None:
    path = tmp_path / "a"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 64)).astype(np.uint8)).save(path, codec)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refusal(path)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_no_program_is_started_for_a_picture(tmp_path: Path) -> None:
    # Pillow hands EPS to Ghostscript
    Image.fromarray(GREY).save(tmp_path / "a.png", "EPS")
    assert "no image of a kind that is read" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("window", ["file", "lung", "percentiles"])
def test_a_picture_has_no_window(tmp_path: Path, window: str) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    how = DisplayParams(window=window, burned_in="refuse")  # type: ignore[arg-type]
    shown_so = read_image(tmp_path / "a.png", how)
    np.testing.assert_array_equal(shown_so.grey, GREY)
    assert (shown_so.spacing, shown_so.burned_in) == (None, False)
