"""Every sample format of TIFF is shown as plain arithmetic shows it, or refused by its name."""

import os
import tracemalloc
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

import tiff_files
from factories import written
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import held_images, read_image
from medscreen.data.tiff import pages as tiff_pages
from medscreen.data.tiff.pages import MOST_PAGES
from tiff_files import Form, tiff

WEIGHTS = np.array([19595, 38470, 7471]) / 65536
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def shown(path: Path, frame: int | None = None) -> np.ndarray:
    return read_image(path, FILE_DISPLAY, frame).grey


def refusal(path: Path, frame: int | None = None) -> str:
    with pytest.raises(UnreadableImageError) as error:
        shown(path, frame)
    return str(error.value)


def by_definition(values: np.ndarray, form: Form) -> np.ndarray:
    """What a page (H, W, samples) has to look like, as floats, by arithmetic on all of it."""
    bits = form.bits or values.itemsize * 8
    kind, eight = values.dtype.kind, bits <= 8
    numbers = values.astype(float)
    lowest = -(2.0 ** (bits - 1)) if kind == "i" else 0.0
    if eight:
        numbers = np.round((numbers - lowest) * (255 / (2**bits - 1)))
        lowest, white = 0.0, 255.0
    else:
        white = 1.0 if kind == "f" else 2.0 ** (bits - (kind == "i")) - 1
    colours = 3 if values.shape[2] >= 3 and form.photometric in {None, 2} else 1
    grey = numbers[..., :3] @ WEIGHTS if colours == 3 else numbers[..., 0]
    grey = grey if kind == "f" else np.floor(grey + 0.5)
    alpha = form.extra[:1] == (2,) or (colours == 3 and values.shape[2] == 4 and not form.extra)
    if alpha:
        grey = (grey - lowest) * np.clip(numbers[..., colours] / white, 0, 1) + lowest
        grey = grey if kind == "f" else np.floor(grey + 0.5)
    if not eight:
        low, high = np.percentile(grey, (0.5, 99.5))
        grey = np.round(np.clip((grey - low) / (high - low), 0, 1) * 255)
    return 255 - grey if form.photometric == 0 else grey


@st.composite
def pages(draw: st.DrawFn) -> tuple[np.ndarray, Form]:
    """A page of any type, depth, number of samples and order of bytes, planes, strips, tiles and bits."""
    kind = np.dtype(draw(st.sampled_from(TYPES)))
    samples = draw(st.sampled_from([1, 1, 2, 3, 4]))
    odd = {"u1": [1, 2, 3, 4, 7], "u2": [9, 10, 12, 14], "u4": [20, 24, 31]}.get(kind.str[1:], [])
    bits = draw(st.sampled_from([0, 0, *odd]))
    compression = draw(st.sampled_from(["none", "lzw", "deflate", "old deflate", "packbits"]))
    predictors = [1, *([2] if not bits else []), *([3] if kind.kind == "f" else [])]
    predictor = draw(st.sampled_from(predictors)) if compression not in {"none", "packbits"} else 1
    height, width = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    tile = draw(st.sampled_from([None, None, (16, 16), (16, 32)]))
    extras: list[tuple[int, ...]] = {2: [(0,), (1,), (2,)], 4: [(), (0,), (2,)]}.get(samples, [()])
    form = Form(
        order=draw(st.sampled_from("<>")), wide=draw(st.booleans()), planar=draw(st.booleans()),
        compression=compression, predictor=predictor, bits=bits, rows=draw(st.integers(1, height)), tile=tile,
        reversed_bits=draw(st.booleans()), extra=draw(st.sampled_from(extras)),
        photometric=draw(st.sampled_from([0, 1])) if samples == 1 else None,
    )  # fmt: skip
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if kind.kind == "f":
        values = (rng.random((height, width, samples)) * draw(st.sampled_from([1, 1000]))).astype(kind)
    else:
        top = 2.0 ** ((bits or kind.itemsize * 8) - (kind.kind == "i"))
        values = (rng.random((height, width, samples)) * top * 0.999).astype(kind)
        if kind.kind == "i":
            values *= rng.choice([-1, 1], values.shape).astype(kind)
    if form.extra == (1,):
        values[..., 1] = values[..., 1].max()
    return values, form


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(page=pages())
def test_every_layout_is_shown_by_definition(tmp_path: Path, page: tuple[np.ndarray, Form]) -> None:
    values, form = page
    path = written(tmp_path / "a.tif", tiff([page]))
    try:
        grey = shown(path)
    except UnreadableImageError as error:
        assert "same gray value" in str(error) or "above 1" in str(error), (form, values.dtype, error)
        return
    np.testing.assert_allclose(grey.astype(float), by_definition(values, form), atol=1, err_msg=str(form))


RAMP = np.arange(4096).reshape(64, 64)


@pytest.mark.parametrize(
    ("kind", "form", "named"),
    [
        ("c8", Form(), "complex floating point"),
        ("c16", Form(order=">"), "128 bits"),
        ("u4", Form(formats=(5,)), "complex integers"),
        ("u4", Form(formats=(9,)), "unknown format"),
        ("u2", Form(bits=12, formats=(2,)), "12 bits, signed"),
        ("u4", Form(bits=24, formats=(3,)), "24 bits, floating point"),
        ("f4", Form(photometric=3), "photometric interpretation 3"),
        ("u2", Form(photometric=32803), "photometric interpretation 32803"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(tmp_path: Path, kind: str, form: Form, named: str) -> None:
    message = refusal(written(tmp_path / "a.tif", tiff([(RAMP[..., None].astype(kind), form)])))
    assert "sample format" in message
    assert named in message


def test_samples_that_differ_or_have_no_meaning_are_refused_by_their_name(tmp_path: Path) -> None:
    colours = np.dstack([RAMP, RAMP, RAMP]).astype("u4")
    message = refusal(written(tmp_path / "a.tif", tiff([(colours, Form(formats=(1, 3, 1)))])))
    assert "unsigned integers and floating point" in message
    # two channels that no ExtraSamples explains: which of them to show is anyone's guess
    message = refusal(written(tmp_path / "a.tif", tiff([(colours[..., :2], Form())])))
    assert "2 x 32 bits" in message


@pytest.mark.parametrize("form", [Form(reversed_bits=True, photometric=0), Form(planar=True, photometric=0)])
def test_grey_whose_white_is_0_and_that_pillow_refuses_or_inverts(tmp_path: Path, form: Form) -> None:
    content = tiff([((RAMP // 16)[..., None].astype("u1"), form)])
    np.testing.assert_array_equal(shown(written(tmp_path / "a.tif", content)), 255 - RAMP // 16)


def without_tag(content: bytes, tag: int) -> bytes:
    """A little-endian file whose tag has a private number instead."""
    name = tag.to_bytes(2, "little") + b"\x03\0\x01\0\0\0"
    assert content.count(name) == 1
    return content.replace(name, b"\xff\xff" + name[2:])


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_without_a_photometric_interpretation_black_and_white_are_not_guessed(tmp_path: Path, kind: str) -> None:
    content = without_tag(tiff([((RAMP // 16)[..., None].astype(kind), Form())]), 262)
    assert "PhotometricInterpretation (whether 0 is black) is missing" in refusal(written(tmp_path / "a.tif", content))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_each_page_is_an_image_but_for_copies_and_masks(tmp_path: Path, order: str, wide: bool) -> None:
    form = Form(order=order, wide=wide)
    flipped = RAMP[::-1].copy()
    stored: list[tuple[Any, Form]] = [
        ((RAMP // 64)[..., None].astype("u1"), replace(form, subfile=1)),
        ((RAMP // 16)[..., None].astype("u1"), form),
        (flipped[..., None].astype("f8"), replace(form, compression="deflate", predictor=3)),
        ((RAMP // 16)[..., None].astype("u1"), replace(form, subfile=4)),
        (RAMP[..., None].astype("u2"), replace(form, orientation=3)),
    ]
    path = written(tmp_path / "a.tif", tiff(stored))
    assert held_images(path) == (3, 0)
    low, high = np.percentile(RAMP, (0.5, 99.5))
    ramp = np.round(np.clip((RAMP - low) / (high - low), 0, 1) * 255)
    for frame, expected in ((None, RAMP // 16), (0, RAMP // 16), (1, ramp[::-1]), (2, np.rot90(ramp, 2))):
        np.testing.assert_array_equal(shown(path, frame), expected)
    assert "page 3 (from 0) can't be read" in refusal(path, 3)


def test_a_chain_of_directories_ends_where_it_leads_back(tmp_path: Path) -> None:
    page = ((RAMP // 16)[..., None].astype("u1"), Form())
    path = written(tmp_path / "a.tif", tiff([page, page], loop=True))
    assert held_images(path) == (2, 0)
    np.testing.assert_array_equal(shown(path, 1), RAMP // 16)


def test_directories_beyond_the_ones_that_are_read_are_counted(tmp_path: Path) -> None:
    page = (np.array([[[0], [200]]], np.uint8), Form())
    path = written(tmp_path / "a.tif", tiff([page] * (MOST_PAGES + 5)))
    assert held_images(path) == (MOST_PAGES, 5)
    assert "page 1024 (from 0) can't be read" in refusal(path, MOST_PAGES)


PAGE = (RAMP // 16)[..., None].astype("u1")


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_page_is_read_without_those_before_it(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [np.roll(PAGE, shift, axis=0).astype(kind) for shift in range(200)]
    path = written(tmp_path / "a.tif", tiff([(value, Form()) for value in values]))
    os.utime(path, (1e9, 1e9))
    looked_at = Counter[int]()
    following = tiff_pages._following
    monkeypatch.setattr(tiff_pages, "_following", lambda file, at: looked_at.update([at]) or following(file, at))
    load = ImageFileDirectory_v2.load
    monkeypatch.setattr(
        ImageFileDirectory_v2, "load", lambda self, fp: looked_at.update(["Pillow's"]) or load(self, fp)
    )
    assert held_images(path) == (200, 0)
    for number, value in enumerate(values):
        assert read_image(path, FILE_DISPLAY, number).others == 199
        if kind == "u1":
            np.testing.assert_array_equal(shown(path, number), value[..., 0])
    assert looked_at.total() <= 200 * 12


def test_a_file_that_was_written_anew_is_looked_at_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tif", tiff([(PAGE, Form())] * 2))
    assert held_images(path) == (2, 0)
    modified = path.stat().st_mtime_ns
    written(path, tiff([(PAGE, Form()), (PAGE, Form(subfile=1))]))
    os.utime(path, ns=(modified, modified))  # within the same tick of its modification time
    assert held_images(path) == (1, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    wide=st.booleans(), order=st.sampled_from("<>"), pages=st.integers(1, 4), broken=st.integers(0, 3),
    beyond=st.integers(-1, 2**31),
)  # fmt: skip
def test_a_chain_of_pages_that_breaks_is_refused_whichever_page_is_asked_for(
    tmp_path: Path, wide: bool, order: str, pages: int, broken: int, beyond: int
) -> None:
    content = tiff([(PAGE, Form(order=order, wide=wide))] * pages)
    slot = 8 if wide else 4
    with (written(tmp_path / "a.tif", content)).open("rb") as file:
        at = [page.at for page in tiff_pages._chain(file)][min(broken, pages - 1)]
    number = int.from_bytes(content[at : at + (8 if wide else 2)], "little" if order == "<" else "big")
    link = at + (8 if wide else 2) + number * (20 if wide else 12)
    place = (len(content) + beyond).to_bytes(slot, "little" if order == "<" else "big")
    path = written(tmp_path / "b.tif", content[:link] + place + content[link + slot :])
    assert held_images(path) == (1, 0)
    for frame in (None, 0, pages - 1):
        assert f"cut short: the directory of its page {min(broken, pages - 1) + 1}" in refusal(path, frame)


def test_more_pages_than_anyone_counts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_pages, "MOST_COUNTED", 5)
    assert held_images(written(tmp_path / "a.tif", tiff([(PAGE, Form())] * 5))) == (5, 0)
    assert "more than 5 images" in refusal(written(tmp_path / "b.tif", tiff([(PAGE, Form())] * 6)))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_images_that_imagej_keeps_without_a_page_are_counted(tmp_path: Path, order: str, wide: bool) -> None:
    form = Form(order=order, wide=wide, description=b"ImageJ=1.54f\nimages=30\nslices=10\nframes=3\nloop=false\n\0")
    path = written(tmp_path / "a.tif", tiff([(PAGE, form)]))
    assert held_images(path) == (1, 29)
    assert read_image(path, FILE_DISPLAY).others == 29
    assert held_images(written(tmp_path / "b.tif", tiff([(PAGE, form)] * 30))) == (30, 0)
    for text in (b"Film\nImageJ=1\nimages=9\0", b"ImageJ=1.54f\nunit=mm\0", b"ImageJ=1.54f\0\nimages=9\0"):
        other = written(tmp_path / "c.tif", tiff([(PAGE, replace(form, description=text))]))
        assert held_images(other) == (1, 0)
    many = replace(form, description=b"ImageJ=1.54f\nimages=99999999999\0")
    assert "more than 65,536 images" in refusal(written(tmp_path / "d.tif", tiff([(PAGE, many)])))


def test_a_volume_in_one_page_is_refused(tmp_path: Path) -> None:
    for kind in ("u1", "u2"):
        page = PAGE.astype(kind)
        assert "ImageDepth" in refusal(written(tmp_path / "a.tif", tiff([(page, Form(depth=4))])))
        assert len(shown(written(tmp_path / "b.tif", tiff([(page, Form(depth=1))]))))


def test_directories_that_overlap_are_not_read_for_ever(tmp_path: Path) -> None:
    # 30,000 directories of 60,000 entries each in 720 kB
    size, number = 12 * 60_000, 30_000
    links = np.zeros(size + 4 * number + 20_000, np.uint8)
    content = bytearray(b"II*\0\x08\0\0\0" + links.tobytes())
    for at in range(8, 8 + 4 * number, 4):
        content[at : at + 2] = (60_000).to_bytes(2, "little")
        content[at + 2 + size : at + 6 + size] = (at + 4).to_bytes(4, "little")
    path = written(tmp_path / "a.tif", bytes(content))
    tracemalloc.start()
    refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["f4", "f8", "u4", "i2"])
@pytest.mark.parametrize("compression", ["deflate", "lzw", "none"])
def test_the_memory_is_a_small_multiple_of_the_samples(tmp_path: Path, kind: str, compression: str) -> None:
    values = np.random.default_rng(1).integers(0, 30_000, (1500, 1500, 1)).astype(kind)
    path = written(tmp_path / "a.tif", tiff([(values, Form(compression=compression, rows=100))]))
    tracemalloc.start()
    shown(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * values.nbytes + 60 * 2**20  # of which 60 MiB do not grow with the image


@pytest.mark.parametrize(("size", "bits"), [((20_000, 20_000), 8), ((9_000, 8_500), 16)])
def test_samples_that_would_fill_the_memory_are_refused_unread(
    tmp_path: Path, size: tuple[int, int], bits: int
) -> None:
    samples = 1 if bits == 8 else 8
    page = (np.zeros((1, 1, samples), f"u{bits // 8}"), Form(extra=(0,) * (samples - 1), photometric=1))
    content = tiff([page])
    for tag, length in zip((256, 257), size, strict=True):
        name = tag.to_bytes(2, "little") + b"\x04\0\x01\0\0\0"
        content = content.replace(name + b"\x01\0\0\0", name + length.to_bytes(4, "little"))
    assert "at most" in refusal(written(tmp_path / "a.tif", content))


def test_a_strip_that_unpacks_to_less_or_lies_outside_is_damage(tmp_path: Path) -> None:
    for compression in ("none", "lzw", "deflate", "packbits"):
        content = tiff([(RAMP[..., None].astype("i2"), Form(compression=compression))])
        name = (257).to_bytes(2, "little") + b"\x04\0\x01\0\0\0"
        taller = content.replace(name + b"\x40", name + b"\x50").replace(
            (278).to_bytes(2, "little") + b"\x04\0\x01\0\0\0\x40", (278).to_bytes(2, "little") + b"\x04\0\x01\0\0\0\x50"
        )
        assert "damaged" in refusal(written(tmp_path / "a.tif", taller))


def test_of_a_damaged_file_the_sentence_is_all_that_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in ("u1", "i2"):
        content = tiff([(RAMP[..., None].astype(kind), Form(compression="lzw"))])
        refusal(written(tmp_path / "a.tif", content[:100] + bytes(200) + content[300:]))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", ["lzw", "packbits"])
def test_libtiff_is_asked_once_for_many_strips(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, opened = [], TiffImageFile.__init__
    monkeypatch.setattr(TiffImageFile, "__init__", lambda *arguments: asked.append(1) or opened(*arguments))
    values, form = np.repeat(RAMP, 7, axis=0)[..., None].astype("u2"), Form(compression=compression, rows=3)
    content = tiff([(values, form)])
    shown(written(tmp_path / "a.tif", content))
    assert len(asked) <= 2  # of 150 strips, the last one shorter
    packed = tiff_files._packed(values[210:213], 16, form)
    assert packed in content
    assert "damaged" in refusal(written(tmp_path / "b.tif", content.replace(packed, bytes(len(packed)))))


def test_a_damaged_checksum_is_damage(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 9999, (64, 64, 1)).astype("i4")
    content = tiff([(values, Form(compression="deflate"))])
    packed = zlib.compress(values.tobytes())
    assert packed in content
    path = written(tmp_path / "a.tif", content.replace(packed, packed[:-1] + bytes([packed[-1] ^ 1])))
    assert "damaged" in refusal(path)


def changed(content: bytes, tag: int, former: int, value: int) -> bytes:
    """A little-endian file whose tag has another number."""
    name = tag.to_bytes(2, "little") + b"\x04\0\x01\0\0\0"
    assert content.count(name + former.to_bytes(4, "little")) == 1
    return content.replace(name + former.to_bytes(4, "little"), name + value.to_bytes(4, "little"))


def test_tags_that_promise_more_than_there_is_cost_no_memory(tmp_path: Path) -> None:
    values = np.zeros((64, 64, 1), "i4")
    tiles = tiff([(values, Form(tile=(64, 64), compression="deflate"))])
    wide = changed(changed(tiles, 256, 64, 8000), 257, 64, 8000)
    tracemalloc.start()
    for content in (
        changed(changed(wide, 322, 64, 1), 323, 64, 1),  # 64 million tiles
        changed(changed(tiles, 322, 64, 40_000), 323, 64, 2_000),  # one of 320 MB
        changed(changed(tiles, 322, 64, 2**31), 323, 64, 2**31),
    ):
        assert refusal(written(tmp_path / "a.tif", content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 600 * 2**20


def test_a_stray_tile_size_beside_strips_changes_nothing(tmp_path: Path) -> None:
    content = tiff([(RAMP[..., None].astype("i2"), Form())])
    expected = shown(written(tmp_path / "a.tif", content))
    stray = content.replace((266).to_bytes(2, "little") + b"\x03", (322).to_bytes(2, "little") + b"\x03")
    np.testing.assert_array_equal(shown(written(tmp_path / "b.tif", stray)), expected)
