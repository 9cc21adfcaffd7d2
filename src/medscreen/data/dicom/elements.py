"""Reads the elements of a DICOM file before its pixel data; no read exceeds the size of the file."""

import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, BinaryIO

from medscreen.data.image_errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

HEAD = 140
"""Number of first bytes of a file by which DICOM is recognized."""

PIXELS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
"""Tag -> keyword of the pixel data elements."""

_META = 132  # start of the file meta information after a preamble
_MOST_INFLATED = 256 * 2**20  # bytes of a deflated file, which has to be in memory as a whole
_AT_ONCE = 32 * 2**20  # bytes of a file that is read at once: headers are parsed in many small reads


@dataclass(frozen=True)
class Elements:
    """The requested elements; the position of `file` is the pixel data, or the end if there is none."""

    dataset: "Dataset"
    syntax: "UID"
    file: BinaryIO


class _Bounded(io.BufferedReader):
    """A file whose reads are limited to its size: Python would allocate what a broken length states."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.length - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def opened(path: Path) -> BinaryIO:
    """The file, from memory unless it is large; no read allocates more than its size."""
    if path.stat().st_size <= _AT_ONCE:
        return io.BytesIO(path.read_bytes())
    return _Bounded(path)


def first_element(head: bytes) -> int | None:
    """Offset of the first element of a file with these first bytes; None if it is not DICOM.

    Some archives omit the preamble and "DICM": their files begin with an element of group 2 or 8.
    """
    if head[128:_META] == b"DICM":
        return _META
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    short = head[6:8] == b"\0\0"  # implicit VR: the length has four bytes
    return 0 if (head[:2] == b"\x08\0" and (explicit or short)) or (head[:2] == b"\x02\0" and explicit) else None


def read_elements(file: BinaryIO, tags: Collection["BaseTag | int"]) -> Elements:
    """The elements with these tags; raises UnreadableImageError, or any exception of pydicom, for a broken header."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    start = first_element(file.read(HEAD)) or 0
    file.seek(start)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax: UID = meta.get("TransferSyntaxUID") or _evident_syntax(file)
    implicit, little = (syntax.is_implicit_VR, syntax.is_little_endian) if syntax.is_transfer_syntax else (False, True)
    content = _inflated(file) if syntax == DeflatedExplicitVRLittleEndian else file
    dataset = read_dataset(content, implicit, little, stop_when=lambda tag, *_: tag in PIXELS, specific_tags=[*tags])
    dataset.set_original_encoding(implicit, little)
    return Elements(dataset, syntax, content)


def _evident_syntax(file: BinaryIO) -> "UID":
    """Transfer syntax of a file that does not state it: explicit VR if the next element has a VR."""
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    _, representation = unpack("<4s2s", file.read(6))
    file.seek(-6, io.SEEK_CUR)
    return ExplicitVRLittleEndian if representation.isalpha() else ImplicitVRLittleEndian


def _inflated(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(file.read(), _MOST_INFLATED)
    if inflater.unconsumed_tail:
        raise UnreadableImageError(f"it is deflated, and inflates to more than {_MOST_INFLATED:,} bytes")
    return io.BytesIO(content)
