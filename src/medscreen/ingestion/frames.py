"""One frame of a DICOM file as it is stored, decoded; no other frame is."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from medscreen.ingestion.codestreams import require_shape
from medscreen.ingestion.decoders import decode
from medscreen.ingestion.elements import PIXELS, Elements, opened, quiet_pydicom, read_elements
from medscreen.ingestion.headers import Header, element_tags
from medscreen.ingestion.refusal import UnreadableImageError, require_size

_REPRESENTATIONS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_UNDEFINED = 0xFFFFFFFF
_RLE = "1.2.840.10008.1.2.5"


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


def read_frame(path: Path, frame: int | None = None) -> Frame:
    """The frame (from 0; None: the middle one) of a DICOM file, as its transfer syntax stores it.

    Values are signed where PixelRepresentation says so, also where the sign was not extended to the unused bits.
    Raises UnreadableImageError for whatever is broken, too large, or of a transfer syntax without a decoder.
    """
    with quiet_pydicom(), opened(path) as file:
        try:
            return _read(file, frame)
        except (UnreadableImageError, MemoryError, OSError):
            raise
        except Exception:  # pydicom quotes values of the header, which may be a patient's name: nothing of it goes on
            raise UnreadableImageError("its DICOM header is broken") from None


def _read(file: BinaryIO, frame: int | None) -> Frame:
    elements = read_elements(file, element_tags().values())
    element = _pixel_element(elements)
    header = Header(elements.dataset, frame)
    return Frame(_stored(elements, header, element), header)


def _pixel_element(elements: Elements) -> _PixelElement:
    """The element of the pixel data, at which the file stands; it then stands at the element's value."""
    order: Literal["little", "big"] = "little" if elements.little_endian else "big"
    start = elements.file.read(8)
    if len(start) < 8:
        raise UnreadableImageError("the DICOM file has no pixel data")
    group, element = (int.from_bytes(start[at : at + 2], order) for at in (0, 2))
    # some files say explicit and are not; no length can be mistaken for one of these: it would be odd
    explicit = start[4:6] in _REPRESENTATIONS
    length = elements.file.read(4) if explicit else start[4:]
    kind = start[4:6].decode() if explicit else "OW"
    return _PixelElement(PIXELS[group << 16 | element], kind, int.from_bytes(length, order))


def _stored(elements: Elements, header: Header, element: _PixelElement) -> NDArray[np.generic]:
    file, syntax = elements.file, elements.syntax
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
        decoded = partial(decode, frame, 0, syntax)
        options |= {"number_of_frames": 1}
        if syntax != _RLE:  # which keeps whole words; others know of values alone
            return decoded(options)
    else:
        _require_pixels(header, element, options)
        decoded = partial(decode, file, header.frame, syntax)
    unused = _unused_below(header, options)
    if not unused:
        return decoded(options)
    above = options["bits_allocated"] - options["bits_stored"] - unused
    words: NDArray[Any] = decoded(options | {"bits_stored": options["bits_allocated"]})
    aligned: NDArray[Any] = (words << above) >> (above + unused)  # of signed words, the second extends the sign
    return aligned


def _require_pixels(header: Header, element: _PixelElement, options: dict[str, Any]) -> None:
    bits = options["rows"] * options["columns"] * options["samples_per_pixel"] * options["bits_allocated"]
    if header.code("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    if element.length == _UNDEFINED or element.length * 8 < (header.frame + 1) * bits:
        raise UnreadableImageError("it holds fewer pixels than Rows, Columns, NumberOfFrames and BitsAllocated say")


def _unused_below(header: Header, options: dict[str, Any]) -> int:
    """How many bits of each word lie below those of its value (PS3.5 8.1.1)."""
    stored: int = options["bits_stored"]
    unused: int = header.natural("HighBit", stored - 1) - (stored - 1)
    if stored < 1 or not 0 <= unused <= options["bits_allocated"] - stored:
        raise UnreadableImageError("its BitsAllocated, BitsStored and HighBit contradict each other")
    if unused and options["photometric_interpretation"].startswith("YBR"):
        raise UnreadableImageError("its HighBit is not that of BitsStored, which is read of no YBR colours")
    return unused


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
