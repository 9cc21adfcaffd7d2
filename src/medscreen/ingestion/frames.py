"""One frame of a DICOM file as it is stored, decoded; no other frame is."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from medscreen.ingestion.codestreams import require_shape
from medscreen.ingestion.decoders import decode
from medscreen.ingestion.headers import Header, element_tags, quiet_pydicom
from medscreen.ingestion.refusal import UnreadableImageError, require_size

if TYPE_CHECKING:
    from pydicom.tag import BaseTag
    from pydicom.uid import UID

_MOST_INFLATED = 256 * 2**20  # bytes of a deflated file, which has to be held whole
_AT_ONCE = 32 * 2**20  # bytes of a file that is read in one go: headers are parsed in many small reads
_META = 132  # where the file meta information begins
_PIXELS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
_REPRESENTATIONS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Frame:
    """Stored values, (H, W) or, in red, green and blue, (H, W, 3); `header` says how they are to be shown."""

    stored: NDArray[np.generic]
    header: Header


@dataclass(frozen=True)
class _PixelElement:
    """Which element holds the pixels, its value representation, its length in bytes."""

    keyword: str
    kind: str
    length: int


class _Bounded(io.BufferedReader):
    """A file that is never asked for more bytes than it has: Python would allocate what a broken length says."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.length = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self.length - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def read_frame(path: Path, frame: int | None = None) -> Frame:
    """The frame (from 0; None: the middle one) of a DICOM file, as its transfer syntax stores it.

    Values are signed where PixelRepresentation says so, also where the sign was not extended to the unused bits.
    Raises UnreadableImageError for whatever is broken, too large, or of a transfer syntax without a decoder.
    """
    with quiet_pydicom(), _opened(path) as file:
        try:
            return _read(file, frame)
        except (UnreadableImageError, MemoryError, OSError):
            raise
        except Exception:  # pydicom quotes values of the header, which may be a patient's name: nothing of it goes on
            raise UnreadableImageError("its DICOM header is broken") from None


def _opened(path: Path) -> BinaryIO:
    if path.stat().st_size <= _AT_ONCE:
        return io.BytesIO(path.read_bytes())
    return _Bounded(path)


def _read(file: BinaryIO, frame: int | None) -> Frame:
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    file.seek(_META)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax: UID | None = meta.get("TransferSyntaxUID")
    if not syntax:
        raise UnreadableImageError("its header has no TransferSyntaxUID")
    implicit, little = (syntax.is_implicit_VR, syntax.is_little_endian) if syntax.is_transfer_syntax else (False, True)
    opened = _inflated(file) if syntax == DeflatedExplicitVRLittleEndian else file
    tags: list[BaseTag | int] = list(element_tags().values())
    dataset = read_dataset(opened, implicit, little, stop_when=lambda tag, *_: tag in _PIXELS, specific_tags=tags)
    dataset.set_original_encoding(implicit, little)
    element = _pixel_element(opened, little)
    header = Header(dataset, frame)
    return Frame(_stored(opened, header, syntax, element), header)


def _inflated(file: BinaryIO) -> BinaryIO:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(file.read(), _MOST_INFLATED)
    if inflater.unconsumed_tail:
        raise UnreadableImageError(f"it is deflated, and would be larger than {_MOST_INFLATED:,} bytes")
    return io.BytesIO(content)


def _pixel_element(file: BinaryIO, little: bool) -> _PixelElement:
    """The element of the pixel data, at which the file stands; it then stands at the element's value."""
    order: Literal["little", "big"] = "little" if little else "big"
    start = file.read(8)
    if len(start) < 8:
        raise UnreadableImageError("the DICOM file has no pixel data")
    group, element = (int.from_bytes(start[at : at + 2], order) for at in (0, 2))
    # some files say explicit and are not; no length can be mistaken for one of these: it would be odd
    explicit = start[4:6] in _REPRESENTATIONS
    length = file.read(4) if explicit else start[4:]
    kind = start[4:6].decode() if explicit else "OW"
    return _PixelElement(_PIXELS[group << 16 | element], kind, int.from_bytes(length, order))


def _stored(file: BinaryIO, header: Header, syntax: "UID", element: _PixelElement) -> NDArray[np.generic]:
    options = _pixel_options(header, element)
    rows, columns, samples = options["rows"], options["columns"], options["samples_per_pixel"]
    require_size(columns, rows)
    if samples not in {1, 3}:
        raise UnreadableImageError("its SamplesPerPixel is neither 1 nor 3")
    if not syntax.is_transfer_syntax or syntax.is_encapsulated:
        if element.length != _UNDEFINED:
            raise UnreadableImageError("its pixel data is not in fragments, as its transfer syntax wants")
        frame = _compressed(file, header, options)
        require_shape(frame, (rows, columns, samples))
        return decode(frame, 0, syntax, options | {"number_of_frames": 1})
    bits = rows * columns * samples * options["bits_allocated"]
    if header.code("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    if element.length == _UNDEFINED or element.length * 8 < (header.frame + 1) * bits:
        raise UnreadableImageError("it holds fewer pixels than Rows, Columns, NumberOfFrames and BitsAllocated say")
    return decode(file, header.frame, syntax, options)


def _pixel_options(header: Header, element: _PixelElement) -> dict[str, Any]:
    """What pydicom's decoders have to know, by their names for it."""
    allocated = header.natural("BitsAllocated")
    if allocated not in {1, 8, 16, 32, 64}:
        raise UnreadableImageError("its BitsAllocated is none of 1, 8, 16, 32 and 64")
    options: dict[str, Any] = {
        "rows": header.natural("Rows"),
        "columns": header.natural("Columns"),
        "samples_per_pixel": header.natural("SamplesPerPixel", 1),
        "bits_allocated": allocated,
        "bits_stored": header.natural("BitsStored", allocated),
        "photometric_interpretation": header.code("PhotometricInterpretation"),
        "number_of_frames": header.frames,
        "pixel_keyword": element.keyword,
        "pixel_vr": element.kind,
    }
    if element.keyword == "PixelData":
        options["pixel_representation"] = header.natural("PixelRepresentation", 0)
    if options["samples_per_pixel"] > 1:
        options["planar_configuration"] = header.natural("PlanarConfiguration", 0)
    return options


def _compressed(file: BinaryIO, header: Header, options: dict[str, Any]) -> bytes:
    from pydicom.encaps import get_frame

    tables = [header.get(keyword) for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")]
    offsets = (tables[0], tables[1]) if all(isinstance(table, bytes) and table for table in tables) else None
    try:
        return get_frame(file, header.frame, extended_offsets=offsets, number_of_frames=options["number_of_frames"])
    except MemoryError:
        raise
    except Exception:  # whatever a broken list of fragments makes of it
        raise UnreadableImageError("its pixel data is cut short, or the frame is not in it") from None
