"""The pages of a TIFF file and their tags, read without decoding anything and without trusting a length."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from struct import error, unpack
from typing import BinaryIO, Literal

import numpy as np

from medscreen.ingestion.refusal import UnreadableImageError

MOST_PAGES = 1_024
"""Pages further back in a file are counted, not read."""

_MOST_COUNTED = 65_536  # more is damage, or made to keep a reader busy
_MOST_NUMBERS = 1 << 20  # of a tag; no image has so many strips or tiles
_WIDE = {  # BigTIFF or not; some writers exchange the bytes of the number
    b"II\x2a\0": False, b"II\0\x2a": False, b"MM\0\x2a": False, b"MM\x2a\0": False,
    b"II\x2b\0": True, b"MM\0\x2b": True,
}  # fmt: skip
_KINDS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # field types of whole numbers
_SUBFILE, _OLD_SUBFILE = 254, 255
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_DAMAGED = "the TIFF file is damaged or cut short"

Order = Literal["<", ">"]
"""Low or high byte first."""


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF file: `index` is its place in the chain, from 0; `wide` is True for BigTIFF."""

    file: BinaryIO
    order: Order
    wide: bool
    index: int
    entries: bytes

    def numbers(self, tag: int) -> list[int]:
        """The whole numbers of a tag, none where it is absent; raises UnreadableImageError for another kind."""
        slot = 8 if self.wide else 4
        layout = np.dtype([("tag", "u2"), ("kind", "u2"), ("count", f"u{slot}"), ("content", f"V{slot}")])
        entries = np.frombuffer(self.entries, layout.newbyteorder(self.order))
        for entry in entries[entries["tag"] == tag][:1]:
            count, content = int(entry["count"]), entry["content"].tobytes()
            if int(entry["kind"]) not in _KINDS or not 0 < count <= _MOST_NUMBERS:
                raise UnreadableImageError(f"its TIFF tag {tag} holds no whole numbers, or too many")
            number = np.dtype(self.order + _KINDS[int(entry["kind"])])
            if count * number.itemsize > slot:
                (start,) = unpack(self.order + "IQ"[self.wide], content)
                content = self.read(start, count * number.itemsize)
            return [int(value) for value in np.frombuffer(content, number, count)]
        return []

    def number(self, tag: int, otherwise: int) -> int:
        """The first number of a tag, `otherwise` where it is absent."""
        return next(iter(self.numbers(tag)), otherwise)

    def read(self, start: int, length: int) -> bytes:
        """So many bytes of the file; raises UnreadableImageError where it ends before."""
        return _read(self.file, start, length)

    @property
    def is_image(self) -> bool:
        """Whether the page is an image of its own: no smaller copy of another page, and no mask."""
        kinds = self.number(_SUBFILE, 0)
        return not kinds & (_REDUCED | _MASK) and self.number(_OLD_SUBFILE, 0) != _OLD_REDUCED


def is_tiff(file: BinaryIO) -> bool:
    """Whether a file begins as TIFF or BigTIFF."""
    file.seek(0)
    return file.read(4) in _WIDE


def image_pages(file: BinaryIO) -> list[Page]:
    """The pages of a TIFF file that are images of their own; all pages where none is, as in files of a preview alone.

    A chain of directories that leads back to itself ends there. Raises UnreadableImageError where there is no page.
    """
    pages = list(_chain(file))
    if not pages:
        raise UnreadableImageError(_DAMAGED)
    return [page for page in pages if page.is_image] or pages


def _chain(file: BinaryIO) -> Iterator[Page]:
    file.seek(0)
    head = file.read(16)
    order: Order = "<" if head[:2] == b"II" else ">"
    wide = _WIDE[head[:4]]
    count_layout, count_size, entry_size, next_layout, next_size = (
        ("Q", 8, 20, "Q", 8) if wide else ("H", 2, 12, "I", 4)
    )
    seen: set[int] = set()
    left = _size(file)  # directories that lie over each other would be read for ever
    try:
        (at,) = unpack(order + next_layout, head[8:16] if wide else head[4:8])
        while at and at not in seen and len(seen) < _MOST_COUNTED and left > 0:
            (entries,) = unpack(order + count_layout, _read(file, at, count_size))
            left -= entries * entry_size
            content = _read(file, at + count_size, entries * entry_size)
            yield Page(file, order, wide, len(seen), content)
            seen.add(at)
            (at,) = unpack(order + next_layout, _read(file, at + count_size + len(content), next_size))
    except (UnreadableImageError, error):
        if not seen:
            raise UnreadableImageError(_DAMAGED) from None


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    if start + length > _size(file):
        raise UnreadableImageError(_DAMAGED)
    file.seek(start)
    return file.read(length)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
