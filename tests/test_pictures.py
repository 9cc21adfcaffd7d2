"""Pictures of every mode come out right, and what is none is named."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageFile
from pydicom.encaps import encapsulate

from factories import dicom, written
from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.jpeg_scans import require_few_scans
from medscreen.data.load_image import read_image

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


def deep_png(colours: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits a channel (H, W, channels), which Pillow can't write, its rows stored as differences."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = colours.shape
    content = colours.astype(">u2").view(np.uint8).reshape(height, width, -1)
    steps = np.diff(content, axis=1, prepend=np.zeros((height, 1, 2 * channels), np.uint8))
    rows = b"".join(b"\1" + row.tobytes() for row in steps)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff(colours: np.ndarray, order: str, packed: bool, extra: int | None = None) -> bytes:
    """A TIFF of 16 bits a channel; `extra` says what the fourth one is."""
    height, width, channels = colours.shape
    content = colours.astype(f"{order}u2").tobytes()
    content = zlib.compress(content) if packed else content
    entries: list[tuple[int, int, int | list[int]]] = [
        (256, 4, width), (257, 4, height), (258, 3, [16] * channels), (259, 3, 8 if packed else 1), (262, 3, 2),
        (273, 4, 0), (277, 3, channels), (278, 4, height), (279, 4, len(content)),
    ]  # fmt: skip
    if extra is not None:
        entries.append((338, 3, extra))
    end = 8 + 2 + 12 * len(entries) + 4
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    fields = b""
    for tag, kind, value in entries:
        number = len(value) if isinstance(value, list) else 1
        encoded = end if isinstance(value, list) else end + len(bits) if tag == 273 else value
        wide = kind == 4 or number > 1
        fields += struct.pack(f"{order}HHI", tag, kind, number) + struct.pack(
            f"{order}{'I' if wide else 'HH'}", *((encoded,) if wide else (encoded, 0))
        )
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    return start + fields + bytes(4) + bits + content


def luminance_of(colours: np.ndarray) -> np.ndarray:
    return np.round(colours[..., :3] @ np.array([19595, 38470, 7471]) / 65536 + 1e-9)


@pytest.mark.parametrize("top", [4095, 65535])
def test_16_bit_colours_are_stretched_as_16_bit_grey_is(tmp_path: Path, top: int) -> None:
    rng = np.random.default_rng(4)
    colours = rng.integers(0, top + 1, (12, 20, 3))
    path = tmp_path / "a"
    contents = [deep_png(colours, 2)]
    contents += [deep_tiff(colours, order, packed) for order in "<>" for packed in (False, True)]
    contents += [deep_tiff(np.dstack([colours, colours[..., 0]]), order, False, extra=0) for order in "<>"]
    for content in contents:
        np.testing.assert_array_equal(shown(written(path, content)), stretched(luminance_of(colours)))
    grey = rng.integers(0, top + 1, (12, 20, 1))
    opaque = np.full((12, 20, 1), 65535)
    path.write_bytes(deep_png(np.dstack([grey, opaque]), 4))
    np.testing.assert_array_equal(shown(path), stretched(grey[..., 0]))


def test_16_bit_colours_that_are_transparent_lie_before_black(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    colours, alpha = rng.integers(0, 4096, (12, 20, 3)), rng.integers(0, 65536, (12, 20, 1))
    alpha[:, :5] = 0
    expected = np.round(luminance_of(colours) * alpha[..., 0] / 65535)
    rgba = np.dstack([colours, alpha])
    premultiplied = np.dstack([np.round(colours * (alpha / 65535)), alpha])
    for content, tolerance in (
        (deep_png(rgba, 6), 0),
        (deep_tiff(rgba, ">", False, extra=2), 0),
        (deep_tiff(premultiplied, "<", False, extra=1), 1),
    ):
        grey = shown(written(tmp_path / "a", content)).astype(float)
        np.testing.assert_allclose(grey, stretched(expected), atol=tolerance)
    grey = np.dstack([colours[..., :1], alpha])
    written(tmp_path / "a", deep_png(grey, 4))
    np.testing.assert_array_equal(shown(tmp_path / "a"), stretched(np.round(colours[..., 0] * alpha[..., 0] / 65535)))


def test_a_transparent_grey_or_colour_of_16_bits_lies_before_black(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    colours = rng.integers(1, 65536, (12, 20, 3))
    for part, kind in ((colours[..., :1], 0), (colours, 2)):
        clear = part[3, 4]
        content = deep_png(part, kind)
        chunk = b"tRNS" + clear.astype(">u2").tobytes()
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        grey = part[..., 0].astype(float) if kind == 0 else luminance_of(colours)
        grey[(part == clear).all(axis=-1)] = 0
        path = written(tmp_path / "a", content[:33] + chunk + content[33:])
        np.testing.assert_array_equal(shown(path), stretched(grey))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_lies_before_black(tmp_path: Path, bits: int) -> None:
    white = 2**bits - 1
    values = np.random.default_rng(3).integers(0, white + 1, (8, 16)).astype(np.uint8)
    each = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(each.reshape(8, -1).astype(np.uint8), axis=1)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 8, bits, 0, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(">H", white)) + chunk(
        b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    )
    grey = np.where(values == white, 0, values * (255 // white))
    path = written(tmp_path / "a.png", content + chunk(b"IEND", b""))
    if bits == 1:  # nothing but black is left
        assert "same gray value" in refusal(path)
    else:
        np.testing.assert_array_equal(shown(path), grey)


def test_16_bit_colours_stand_upright_and_are_refused_when_cut(tmp_path: Path) -> None:
    colours = np.random.default_rng(6).integers(0, 65536, (12, 20, 3))
    whole = deep_png(colours, 2)
    exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    chunk = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    turned = written(tmp_path / "a", whole[:33] + chunk + whole[33:])
    np.testing.assert_array_equal(shown(turned), stretched(np.rot90(luminance_of(colours), -1)))
    refusal(written(tmp_path / "b", whole[:400]))


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
        ("Thumbs", "unsupported file type; supported: DICOM, PNG"),
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
    assert "unsupported file type; supported: DICOM, PNG" in refusal(tmp_path / "a.png")


def progressive(size: tuple[int, int], empty: int) -> bytes:
    """A progressive JPEG with so many scans behind it that change nothing."""
    flat = io.BytesIO()
    Image.fromarray(np.resize(GREY, size)).save(flat, "JPEG", progressive=True)
    content = flat.getvalue()
    again = content[content.rindex(b"\xff\xda") : -2][:10] + b"\0" * 8
    return content[:-2] + again * empty + content[-2:]


@pytest.mark.parametrize(("size", "empty"), [((8, 8), 600), ((2000, 2500), 5)])
def test_few_scans_are_decoded(tmp_path: Path, size: tuple[int, int], empty: int) -> None:
    assert shown(written(tmp_path / "a.jpg", progressive(size, empty))).shape == size


def test_many_scans_of_a_large_jpeg_are_refused_unread(tmp_path: Path) -> None:
    content = progressive((2000, 2500), 300)
    start = time.monotonic()
    assert "too many scans" in refusal(written(tmp_path / "a.jpg", content))
    assert time.monotonic() - start < 1
    inside = dicom(tmp_path / "a.dcm", np.zeros((2000, 2500), np.uint8), bits=8)
    dataset = pydicom.dcmread(inside)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    dataset.PixelData = encapsulate([content])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(inside)
    assert "too many scans" in refusal(inside)


def test_a_scan_marker_within_other_segments_is_no_scan(tmp_path: Path) -> None:
    content = progressive((2000, 2500), 0)
    thumbnail = b"\xff\xda\0\x08" * 2000
    segment = b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert shown(written(tmp_path / "a.jpg", content[:2] + segment + content[2:])).shape == (2000, 2500)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_text_that_unpacks_to_megabytes_is_refused_by_its_name(tmp_path: Path, kind: bytes) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    head = b"a\0\0" if kind == b"zTXt" else b"a\0\1\0\0\0"
    content = kind + head + zlib.compress(bytes(200 * 2**20))
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    assert "text chunks" in refusal(written(tmp_path / "a.png", whole[:33] + chunk + whole[33:]))


@pytest.mark.parametrize("window", ["file", "lung", "percentiles"])
def test_a_picture_has_no_window(tmp_path: Path, window: str) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    how = DisplayParams(window=window, burned_in="refuse")  # type: ignore[arg-type]
    shown_so = read_image(tmp_path / "a.png", how)
    np.testing.assert_array_equal(shown_so.grey, GREY)
    assert (shown_so.spacing, shown_so.burned_in) == (None, False)


def test_an_animation_that_claims_to_be_endless_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(np.arange(4096).reshape(64, 64) // 16, at).astype(np.uint8)) for at in range(2)]
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    content = path.read_bytes()
    at = content.index(b"acTL")
    for claimed, others in ((2, 1), (65_536, 65_535), (65_537, None), (2**31 - 1, None)):
        chunk = b"acTL" + claimed.to_bytes(4) + content[at + 8 : at + 12]
        path.write_bytes(content[:at] + chunk + zlib.crc32(chunk).to_bytes(4) + content[at + 16 :])
        if others is None:
            with pytest.raises(UnreadableImageError, match="more than 65,536 images"):
                read_image(path, FILE_DISPLAY)
        else:
            assert read_image(path, FILE_DISPLAY).others == others


def test_colors_of_16_bits_that_take_twice_the_time_have_a_bound_of_their_own(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)

    for bits, kind, bounded in ((16, 2, True), (16, 6, True), (16, 4, True), (8, 2, False), (16, 0, False)):
        header = struct.pack(">IIBBBBB", 7_000, 6_000, bits, kind, 0, 0, 0)
        content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        message = refusal(written(tmp_path / "a.png", b"\x89PNG\r\n\x1a\n" + content))
        assert ("at most 40,000,000 are decoded" in message) is bounded, message


def test_scans_of_jpeg_ls_are_counted_by_the_size_in_its_frame() -> None:
    frame = b"\xff\xf7" + struct.pack(">HBHHBBBB", 11, 8, 8_000, 8_000, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0) + b"\0" * 4
    require_few_scans(b"\xff\xd8" + frame + scan * 32 + b"\xff\xd9")
    with pytest.raises(UnreadableImageError, match="has too many scans"):
        require_few_scans(b"\xff\xd8" + frame + scan * 33 + b"\xff\xd9")
