"""A small writer of TIFF in whatever layout a test needs, written by the specification and with no reader in mind."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_CODES = {"none": 1, "lzw": 5, "deflate": 8, "old deflate": 32946, "packbits": 32773}
FORMATS = {"u": 1, "i": 2, "f": 3, "c": 6}


@dataclass(frozen=True)
class Form:
    """How a page is to be stored. `bits`: 0 for those of the type; `tile`: rows and columns, else strips of `rows`."""

    order: str = "<"
    wide: bool = False
    planar: bool = False
    compression: str = "none"
    predictor: int = 1
    bits: int = 0
    rows: int = 0
    tile: tuple[int, int] | None = None
    reversed_bits: bool = False
    photometric: int | None = None
    extra: tuple[int, ...] = ()
    formats: tuple[int, ...] | None = None
    subfile: int = 0
    orientation: int = 1
    description: bytes = b""
    depth: int = 0


def tiff(pages: Sequence[tuple[np.ndarray, Form]], loop: bool = False) -> bytes:
    """A file of pages (H, W, samples); `loop`: the last directory names the first as the next."""
    order, wide = pages[0][1].order, pages[0][1].wide
    head = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHH" if wide else "H"), *((43, 8, 0) if wide else (42,))
    )
    content, link = head + bytes(8 if wide else 4), len(head)
    first = 0
    for number, (values, form) in enumerate(pages):
        content, directory, following = _page(content + bytes(len(content) % 2), values, form)
        first = first or directory
        content = _linked(content, link, directory, form)
        link = following
        if loop and number == len(pages) - 1:
            content = _linked(content, link, first, form)
    return content


def _linked(content: bytes, at: int, target: int, form: Form) -> bytes:
    encoded = struct.pack(form.order + ("Q" if form.wide else "I"), target)
    return content[:at] + encoded + content[at + len(encoded) :]


def _page(content: bytes, values: np.ndarray, form: Form) -> tuple[bytes, int, int]:
    """The content with the page behind it, where its directory is, and where that names the next."""
    height, width, samples = values.shape
    bits = form.bits or values.itemsize * 8
    rows, columns = form.tile or (form.rows or height, width)
    starts, lengths = [], []
    for plane in np.split(values, samples, axis=2) if form.planar else [values]:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                block = plane[top : top + rows, left : left + columns]
                if form.tile:
                    block = np.pad(block, [(0, rows - block.shape[0]), (0, columns - block.shape[1]), (0, 0)], "edge")
                segment = _packed(block, bits, form)
                starts.append(len(content))
                lengths.append(len(segment))
                content += segment
    photometric = form.photometric if form.photometric is not None else 2 if samples >= 3 else 1
    formats = form.formats or (FORMATS[values.dtype.kind],) * samples
    tags: dict[int, tuple[str, Sequence[int]]] = {
        254: ("I", [form.subfile]), 256: ("I", [width]), 257: ("I", [height]), 258: ("H", [bits] * samples),
        259: ("H", [_CODES[form.compression]]), 262: ("H", [photometric]), 266: ("H", [1 + form.reversed_bits]),
        274: ("H", [form.orientation]), 277: ("H", [samples]), 284: ("H", [1 + form.planar]),
        317: ("H", [form.predictor]), 339: ("H", formats),
    }  # fmt: skip
    if form.description:
        tags[270] = ("B", form.description)
    if form.depth:
        tags[32997] = ("I", [form.depth])
    if form.extra:
        tags[338] = ("H", form.extra)
    if form.tile:
        tags |= {322: ("I", [columns]), 323: ("I", [rows]), 324: ("I", starts), 325: ("I", lengths)}
    else:
        tags |= {273: ("I", starts), 278: ("I", [rows]), 279: ("I", lengths)}
    return _directory(content + bytes(len(content) % 2), dict(sorted(tags.items())), form)


def _directory(content: bytes, tags: dict[int, tuple[str, Sequence[int]]], form: Form) -> tuple[bytes, int, int]:
    slot, count, number = (8, "Q", "Q") if form.wide else (4, "H", "I")
    entries = b""
    for tag, (kind, values) in tags.items():
        encoded = struct.pack(f"{form.order}{len(values)}{kind}", *values)
        if len(encoded) > slot:
            place, content = len(content), content + encoded + bytes(len(encoded) % 2)
            encoded = struct.pack(form.order + number, place)
        field = {"B": 2, "H": 3, "I": 4}[kind]
        entries += struct.pack(form.order + "HH" + number, tag, field, len(values)) + encoded.ljust(slot, b"\0")
    start = len(content)
    content += struct.pack(form.order + count, len(tags)) + entries
    return content + bytes(slot), start, len(content)


def _packed(block: np.ndarray, bits: int, form: Form) -> bytes:
    rows = len(block)
    if bits % 8 == 0 and bits == block.itemsize * 8:
        content = _predicted(block, form)
    elif bits == 24:
        words = block.astype(f"{form.order}u4").view(np.uint8).reshape(rows, -1, 4)
        content = (words[..., :3] if form.order == "<" else words[..., 1:]).tobytes()
    else:
        each = (block.reshape(rows, -1, 1).astype(np.int64) >> np.arange(bits - 1, -1, -1)) & 1
        content = np.packbits(each.reshape(rows, -1).astype(np.uint8), axis=1).tobytes()
    compressed = {"none": bytes, "lzw": _lzw, "packbits": _packbits}.get(form.compression, zlib.compress)(content)
    if form.reversed_bits:
        compressed = np.packbits(np.unpackbits(np.frombuffer(compressed, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()
    return compressed


def _predicted(block: np.ndarray, form: Form) -> bytes:
    rows, columns, samples = block.shape
    if form.predictor == 3:
        planes = block.astype(block.dtype.newbyteorder(">")).view(np.uint8).reshape(rows, columns * samples, -1)
        content = planes.transpose(0, 2, 1).reshape(rows, -1, samples)
        return np.diff(content, axis=1, prepend=np.zeros((rows, 1, samples), np.uint8)).tobytes()
    if form.predictor == 2:
        words = np.ascontiguousarray(block).view(f"u{block.itemsize}")
        block = np.diff(words, axis=1, prepend=np.zeros((rows, 1, samples), words.dtype))
    return block.astype(block.dtype.newbyteorder(form.order)).tobytes()


def _lzw(content: bytes) -> bytes:
    """Codes of nine bits, the table emptied before it would need ten."""
    codes = [code for start in range(0, len(content), 200) for code in (256, *content[start : start + 200])] + [257]
    bits = (np.array(codes)[:, None] >> np.arange(8, -1, -1)) & 1
    return np.packbits(bits.astype(np.uint8).ravel()).tobytes()


def _packbits(content: bytes) -> bytes:
    return b"".join(
        bytes([len(run) - 1]) + run for run in (content[at : at + 100] for at in range(0, len(content), 100))
    )
