"""The pages of a TIFF file and their tags, read without decoding pixels; every stated length is checked.

tifffile is unsuitable for files of unknown origin: it follows a chain of pages that leads back behind its hundredth
page without end, cuts a broken chain silently, reads a repeated tag once per repetition (824 MiB for 727 kB), fills
missing strips with zeros, and needs imagecodecs (79 MB) for LZW.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import FileIO
from pathlib import Path
from struct import error, pack, unpack
from typing import BinaryIO, Literal

import numpy as np

from medscreen.data.image_errors import UnreadableImageError

MOST_PAGES = 1_024
"""Maximum number of pages that are read; further pages are counted."""
MOST_COUNTED = 65_536
"""Maximum number of images; a file that states more is damaged or malicious."""

_SETTLED = 2.0  # seconds; a file may be written anew within one tick of its modification time
_MOST_ENTRIES = 4_096  # of a directory; a few hundred tags are in use
_MOST_NUMBERS = 1 << 20  # of a tag; images have fewer strips or tiles
_WIDE = {  # True for BigTIFF; some writers swap the bytes of the number
    b"II\x2a\0": False, b"II\0\x2a": False, b"MM\0\x2a": False, b"MM\x2a\0": False,
    b"II\x2b\0": True, b"MM\0\x2b": True,
}  # fmt: skip
_KINDS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # field types of whole numbers
_SUBFILE, _OLD_SUBFILE, _DESCRIPTION = 254, 255, 270
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_MOST_TEXT = 4096  # bytes of a description that are searched
_IMAGEJ = re.compile(rb"ImageJ=[^\0]*?\nimages=(\d{1,18})")
_DAMAGED = "the TIFF file is damaged or cut short"

Order = Literal["<", ">"]
"""Byte order: little-endian or big-endian."""


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF file; `at`: its offset; `wide`: True for BigTIFF."""

    file: BinaryIO
    order: Order
    wide: bool
    at: int
    entries: bytes

    def numbers(self, tag: int) -> list[int]:
        """The whole numbers of a tag, [] if it is absent; raises UnreadableImageError for another type."""
        entry = self._entry(tag)
        if entry is None:
            return []
        kind, count, content = entry
        if kind not in _KINDS or not 0 < count <= _MOST_NUMBERS:
            raise UnreadableImageError(f"its TIFF tag {tag} does not hold whole numbers, or too many")
        number = np.dtype(self.order + _KINDS[kind])
        return [int(value) for value in np.frombuffer(self._content(content, count * number.itemsize), number, count)]

    def number(self, tag: int, otherwise: int) -> int:
        """The first number of a tag; `otherwise` if it is absent."""
        return next(iter(self.numbers(tag)), otherwise)

    def read(self, start: int, length: int) -> bytes:
        """`length` bytes of the file; raises UnreadableImageError if it ends before."""
        return _read(self.file, start, length)

    @property
    def is_image(self) -> bool:
        """True for a page that is not a reduced copy of another page and not a mask."""
        kinds = self.number(_SUBFILE, 0)
        return not kinds & (_REDUCED | _MASK) and self.number(_OLD_SUBFILE, 0) != _OLD_REDUCED

    @property
    def stacked(self) -> int:
        """Number of images by ImageJ's description in the first page; 0 without one."""
        _, count, content = self._entry(_DESCRIPTION) or (0, 0, b"")
        with suppress(UnreadableImageError):  # a text beyond the end of the file
            if found := _IMAGEJ.match(self._content(content, min(count, _MOST_TEXT))):
                return int(found[1])
        return 0

    def _entry(self, tag: int) -> tuple[int, int, bytes] | None:
        """Field type and count of a tag, and its content or, for longer content, its offset."""
        size, layout = (20, "HQ8s") if self.wide else (12, "HI4s")
        name = pack(self.order + "H", tag)
        for start in range(0, len(self.entries), size):
            if self.entries[start : start + 2] == name:
                kind, count, content = unpack(self.order + layout, self.entries[start + 2 : start + size])
                return kind, count, content
        return None

    def _content(self, content: bytes, length: int) -> bytes:
        if length <= len(content):
            return content[:length]
        (start,) = unpack(self.order + "IQ"[self.wide], content)
        return self.read(start, length)


@dataclass(frozen=True)
class Pages:
    """Offsets in a TIFF file of the pages that are images; `others`: number of images without a page."""

    places: tuple[int, ...]
    others: int


class FromPage(FileIO):
    """A TIFF file whose header points to this page, because Pillow would read all pages before it."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.file.name)
        start, place = (8, "Q") if page.wide else (4, "I")
        self._head = _read(page.file, 0, start) + pack(page.order + place, page.at)

    def read(self, size: int | None = -1, /) -> bytes:
        """The file's bytes from the current position on, with the page's offset in the header."""
        at = self.tell()
        content = super().read(size) or b""
        return self._head[at : at + len(content)] + content[max(len(self._head) - at, 0) :]


def is_tiff(file: BinaryIO) -> bool:
    """True if a file begins as TIFF or BigTIFF."""
    file.seek(0)
    return file.read(4) in _WIDE


def image_pages(path: Path) -> Pages:
    """The pages of a TIFF file that are images by `Page.is_image`; all pages if none is, as in files of a preview only.

    A chain of directories that leads back to itself ends there. Raises UnreadableImageError if there is no page, for
    more than MOST_COUNTED images, and if the chain is broken: the number of lost pages is unknown, and the file would
    be read as if it were complete. The result is cached, so that the chain is not followed for every page.
    """
    state = path.stat()
    if time.time() < state.st_mtime + _SETTLED:
        return _found(path)
    return _kept(path, state.st_ino, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=8)
def _kept(path: Path, *_version: int) -> Pages:
    return _found(path)


def _found(path: Path) -> Pages:
    places: list[int] = []
    images: list[int] = []
    stacked = 0
    with path.open("rb") as file:
        for page in _chain(file):
            stacked = stacked if places else page.stacked
            places.append(page.at)
            if page.is_image:
                images.append(page.at)
    if not places:
        raise UnreadableImageError(_DAMAGED)
    require_countable(max(stacked, len(places)))
    return Pages(tuple(images or places), max(stacked - len(places), 0))


def require_countable(images: int) -> None:
    """Raises UnreadableImageError for more images than a file may claim to hold."""
    if images > MOST_COUNTED:
        raise UnreadableImageError(f"it states more than {MOST_COUNTED:,} images: split it into files of fewer images")


def page_at(file: BinaryIO, at: int) -> Page:
    """The page at an offset that `image_pages` returned."""
    return _following(file, at)[0]


def _chain(file: BinaryIO) -> Iterator[Page]:
    seen: set[int] = set()
    left = _size(file)  # limits the number of overlapping directories
    try:
        order, wide = _form(file)
        (at,) = unpack(order + "IQ"[wide], _read(file, 8 if wide else 4, 8 if wide else 4))
        while at and at not in seen and len(seen) <= MOST_COUNTED:
            page, following = _following(file, at)
            left -= len(page.entries)
            if left < 0:
                raise UnreadableImageError(_DAMAGED)
            yield page
            seen.add(at)
            at = following
    except (UnreadableImageError, error):
        reason = f"{_DAMAGED}: the directory of its page {len(seen)} (from 0) can't be read" if seen else _DAMAGED
        raise UnreadableImageError(reason) from None


def _form(file: BinaryIO) -> tuple[Order, bool]:
    head = _read(file, 0, 4)
    return "<" if head[:2] == b"II" else ">", _WIDE[head]


def _following(file: BinaryIO, at: int) -> tuple[Page, int]:
    """The page at an offset, and the offset of the next one; 0 after the last."""
    order, wide = _form(file)
    count, size, following = ("Q", 20, "Q") if wide else ("H", 12, "I")
    start = at + (8 if wide else 2)
    (number,) = unpack(order + count, _read(file, at, start - at))
    if number > _MOST_ENTRIES:
        raise UnreadableImageError(_DAMAGED)
    end = start + number * size
    content = _read(file, start, end - start + (8 if wide else 4))
    (place,) = unpack(order + following, content[end - start :])
    return Page(file, order, wide, at, content[: end - start]), place


def _read(file: BinaryIO, start: int, length: int) -> bytes:
    if start + length > _size(file):
        raise UnreadableImageError(_DAMAGED)
    file.seek(start)
    return file.read(length)


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
