"""Gray and color samples of TIFF in sample formats that Pillow refuses or decodes wrongly.

Pillow decodes signed bytes with their halves exchanged and lets 32-bit integers wrap around; it does not read 16-bit or
64-bit floats, separate planes of 16 bits, or most bit depths other than 1, 8 and 16.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from struct import pack
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.tiff.pages import Page
from medscreen.data.tiff.sample_layout import FLOAT, SIGNED, UNSIGNED, VOID, Layout, unread

_FILL_ORDER, _ROWS, _PLANES, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT = 266, 278, 284, 317, 322, 323
_STRIPS, _TILES = (273, 279), (324, 325)  # tags of offsets and of lengths
_NONE, _PACK_BITS, _DEFLATE = 1, 32773, frozenset({8, 32946})
_PREDICTED = frozenset({5, 34925, 50000}) | _DEFLATE  # LZW, LZMA, Zstandard: the codecs that have a predictor
_HORIZONTAL, _FLOATING = 2, 3
_DEPTHS = {SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]
_TOGETHER = 1 << 20  # bytes that libtiff decompresses per call, as a call takes as long as a short strip
_CUT = "the TIFF file is damaged or cut short"


@dataclass(frozen=True)
class _Grid:
    """Offsets and byte counts of strips or tiles in the file; their size in pixels."""

    starts: list[int]
    lengths: list[int]
    rows: int
    columns: int
    tiled: bool


@dataclass(frozen=True)
class _Segment:
    """A strip or tile: its offset and length in the file, its first sample, row and column, and its number of rows."""

    start: int
    length: int | None
    sample: int
    row: int
    column: int
    rows: int


def read_samples(page: Page, layout: Layout) -> NDArray[Any]:
    """The samples (used, H, W) of gray or color and, if there is one, of alpha, as numbers of the file's format.

    Raises UnreadableImageError for unsupported sample formats, which it names, and for damaged data.
    """
    kind = _kind(layout)
    compression = layout.compression
    used = layout.colors + bool(layout.alpha)
    declared = layout.colors + len(layout.extra)
    if len(layout.bits) != declared and not (layout.alpha and not layout.extra):
        raise unread(layout)
    if compression not in _PREDICTED | {_NONE, _PACK_BITS}:
        raise unread(layout)
    planar = page.number(_PLANES, 1) == 2 and len(layout.bits) > 1
    grid = _grid(page, layout)
    reader = _Reader(page, layout, kind, grid.columns, 1 if planar else len(layout.bits))
    target = np.empty((used, layout.height, layout.width), kind)
    for segment, values in reader.read(_segments(grid, layout, used if planar else 1)):
        block = values[: layout.height - segment.row, : layout.width - segment.column]
        place = np.s_[segment.row : segment.row + block.shape[0], segment.column : segment.column + block.shape[1]]
        for at in range(1 if planar else used):
            target[segment.sample + at][place] = block[..., at]
    return target


def _kind(layout: Layout) -> np.dtype[Any]:
    """The type of the samples; raises UnreadableImageError if they differ or are unsupported."""
    bits, form = layout.bits[0], layout.formats[0]
    if len(set(layout.bits)) > 1 or len(set(layout.formats)) > 1:
        raise unread(layout)
    if form in {UNSIGNED, VOID} and (bits <= 32 or bits == 64):
        return np.dtype(f"u{next(size for size in (1, 2, 4, 8) if bits <= 8 * size)}")
    if bits not in _DEPTHS.get(form, ()):
        raise unread(layout)
    return np.dtype(f"{'i' if form == SIGNED else 'f'}{bits // 8}")


def _grid(page: Page, layout: Layout) -> _Grid:
    if page.numbers(_TILES[0]):
        starts, lengths = (page.numbers(tag) for tag in _TILES)
        return _Grid(starts, lengths, page.number(_TILE_HEIGHT, 0), page.number(_TILE_WIDTH, 0), tiled=True)
    starts, lengths = (page.numbers(tag) for tag in _STRIPS)
    return _Grid(starts, lengths, min(page.number(_ROWS, layout.height), layout.height), layout.width, tiled=False)


def _segments(grid: _Grid, layout: Layout, planes: int) -> Iterator[_Segment]:
    if not grid.rows or not grid.columns:
        raise UnreadableImageError(_CUT)
    down, across = -(-layout.height // grid.rows), -(-layout.width // grid.columns)
    if len(grid.starts) < planes * down * across:
        raise UnreadableImageError(_CUT)
    for at in range(planes * down * across):
        sample, place = divmod(at, down * across)
        row, column = place // across * grid.rows, place % across * grid.columns
        rows = grid.rows if grid.tiled else min(grid.rows, layout.height - row)
        length = grid.lengths[at] if at < len(grid.lengths) else None
        yield _Segment(grid.starts[at], length, sample, row, column, rows)


class _Reader:
    """Decodes strips or tiles of `columns` pixels per row, `samples` values per pixel."""

    def __init__(self, page: Page, layout: Layout, kind: np.dtype[Any], columns: int, samples: int) -> None:
        self._page, self._kind, self._columns, self._samples = page, kind, columns, samples
        self._layout, self._bits = layout, layout.bits[0]
        self._row_bytes = (columns * samples * self._bits + 7) // 8
        self._reversed = page.number(_FILL_ORDER, 1) == 2
        self._predictor = page.number(_PREDICTOR, 1) if layout.compression in _PREDICTED else 1

    def read(self, segments: Iterator[_Segment]) -> Iterator[tuple[_Segment, NDArray[Any]]]:
        """Each segment with its values (rows, columns, samples)."""
        for rows, alike in groupby(segments, lambda segment: segment.rows):
            size = rows * self._row_bytes
            for some in _in_parts(alike, max(1, _TOGETHER // size)):
                for segment, raw in zip(some, self._unpacked(some, size), strict=True):
                    if len(raw) < size:
                        raise UnreadableImageError(_CUT)
                    content = np.frombuffer(raw, np.uint8, size).reshape(rows, self._row_bytes)
                    yield segment, self._numbers(content).reshape(rows, self._columns, self._samples)

    def _unpacked(self, segments: Sequence[_Segment], size: int) -> Iterator[bytes]:
        """Decompressed bytes of each segment: at least `size`, its decoded size; further ones are not decompressed."""
        compression = self._layout.compression
        packed = (self._packed(segment, size) for segment in segments)
        if compression == _NONE:
            return packed
        if compression in _DEFLATE:
            return (_inflated(data, size) for data in packed)
        return _by_libtiff([*packed], compression, segments[0].rows, self._row_bytes)

    def _packed(self, segment: _Segment, size: int) -> bytes:
        compression = self._layout.compression
        # some writers omit the length of a single strip, or write 0
        length = size if compression == _NONE and not segment.length else segment.length
        if not length:
            raise UnreadableImageError(_CUT)
        data = self._page.read(segment.start, min(length, size) if compression == _NONE else length)
        if self._reversed:
            data = _REVERSED[np.frombuffer(data, np.uint8)].tobytes()
        return data

    def _numbers(self, content: NDArray[np.uint8]) -> NDArray[Any]:
        """The values (rows, columns * samples) of rows of bytes."""
        if self._predictor == _FLOATING and self._kind.kind == "f":
            return self._from_byte_planes(content)
        if self._bits % 8:
            values = _from_bits(content, self._bits, self._columns * self._samples, self._kind)
        elif self._bits == 24:
            values = _from_24_bits(content, self._page.order)
        else:
            values = content.view(self._kind.newbyteorder(self._page.order)).astype(self._kind, copy=False)
        if self._predictor == 1:
            return values
        if self._predictor != _HORIZONTAL or self._bits not in {8, 16, 32, 64}:
            raise unread(self._layout)
        words = values.view(f"u{self._kind.itemsize}").reshape(len(values), self._columns, self._samples)
        return np.cumsum(words, axis=1, dtype=words.dtype).view(self._kind).reshape(values.shape)

    def _from_byte_planes(self, content: NDArray[np.uint8]) -> NDArray[Any]:
        """Undoes the floating point predictor: differences of bytes, the first of all values before the second."""
        steps = content.reshape(len(content), -1, self._samples)
        planes = np.cumsum(steps, axis=1, dtype=np.uint8).reshape(len(content), self._kind.itemsize, -1)
        values = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(self._kind.newbyteorder(">"))[..., 0]
        return values.astype(self._kind)


def _from_bits(content: NDArray[np.uint8], bits: int, number: int, kind: np.dtype[Any]) -> NDArray[Any]:
    """`number` values per row, packed from the highest bit on, for either byte order of the file."""
    values = np.empty((len(content), number), kind)
    for row, packed in enumerate(content):  # unpacked, bits take eight times the memory
        each = np.unpackbits(packed)[: number * bits].reshape(number, bits)
        values[row] = each @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return values


def _from_24_bits(content: NDArray[np.uint8], order: str) -> NDArray[Any]:
    parts = content.reshape(len(content), -1, 3).astype(np.uint32)
    low, high = (0, 2) if order == "<" else (2, 0)
    values: NDArray[Any] = parts[..., low] | parts[..., 1] << 8 | parts[..., high] << 16
    return values


def _inflated(data: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(data, size)
        inflater.decompress(inflater.unconsumed_tail, 1)  # checks the checksum if nothing else is left
    except zlib.error:
        raise UnreadableImageError(_CUT) from None
    return content


def _in_parts(segments: Iterator[_Segment], number: int) -> Iterator[list[_Segment]]:
    while some := [*islice(segments, number)]:
        yield some


def _by_libtiff(packed: Sequence[bytes], compression: int, rows: int, row_bytes: int) -> Iterator[bytes]:
    """The bytes of segments of `rows` rows: libtiff decompresses them as strips of an image of 8-bit samples."""
    number, size = len(packed), rows * row_bytes
    lengths = np.array([len(data) for data in packed], "<u4")
    tags = {256: row_bytes, 257: rows * number, 258: 8, 259: compression, 262: 1, 273: 0, 277: 1, 278: rows, 279: 0}
    lists = 8 + 2 + 12 * len(tags) + 4
    starts = lists + 8 * number + np.cumsum(lengths, dtype="<u4") - lengths
    tags[273], tags[279] = (lists, lists + 4 * number) if number > 1 else (int(starts[0]), int(lengths[0]))
    entries = b"".join(pack("<HHII", tag, 4, number if tag in _STRIPS else 1, value) for tag, value in tags.items())
    head = pack("<4sIH", b"II\x2a\0", 8, len(tags)) + entries + bytes(4)
    file = b"".join((head, starts.astype("<u4").tobytes(), lengths.tobytes(), *packed))
    try:
        with TiffImagePlugin.TiffImageFile(io.BytesIO(file)) as picture:
            content = picture.tobytes()
    except MemoryError:
        raise
    except Exception:  # Pillow raises any exception on broken data
        raise UnreadableImageError(_CUT) from None
    return (content[start : start + size] for start in range(0, number * size, size))
