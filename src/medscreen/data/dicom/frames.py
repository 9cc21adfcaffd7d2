"""Decoding of one frame of a DICOM file to stored values."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from medscreen.data.dicom.codestreams import Codestream, read_codestream
from medscreen.data.dicom.decoders import decode, decoder_of, require_supported
from medscreen.data.dicom.elements import PIXELS, Elements, opened, read_elements
from medscreen.data.dicom.fragments import read_fragments
from medscreen.data.dicom.headers import Header, element_tags
from medscreen.data.dicom.photometric import require_photometric
from medscreen.data.image_errors import UnreadableImageError, require_size
from medscreen.data.library_logging import quiet_pydicom

_REPRESENTATIONS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_CONTRADICTION = "its BitsAllocated, BitsStored and HighBit contradict each other"
_UNDEFINED = 0xFFFFFFFF
_RLE = "1.2.840.10008.1.2.5"
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))
_EITHER = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203"})  # JPEG 2000 and HTJ2K, lossless or not


@dataclass(frozen=True)
class Frame:
    """Stored values, (H, W) or RGB (H, W, 3), and the `header` elements for their display."""

    stored: NDArray[np.generic]
    header: Header


@dataclass(frozen=True)
class _PixelElement:
    """Keyword of the pixel data element, its value representation, its length in bytes."""

    keyword: str
    kind: str
    length: int


def read_frame(path: Path, frame: int | None = None) -> Frame:
    """The stored values of a frame (from 0; None: the middle one) of a DICOM file.

    Values are signed if PixelRepresentation states so, even if the sign was not extended to the unused bits. Raises
    UnreadableImageError for files that are broken, too large, or of a transfer syntax without a decoder.
    """
    with quiet_pydicom(), opened(path) as file:
        try:
            return _read(file, frame)
        except (UnreadableImageError, MemoryError, OSError):
            raise
        except Exception:  # pydicom's message may quote a patient's name, so it is dropped
            raise UnreadableImageError("its DICOM header is broken") from None


def _read(file: BinaryIO, frame: int | None) -> Frame:
    elements = read_elements(file, element_tags().values())
    element = _pixel_element(elements)
    header = Header(elements.dataset, frame)
    return Frame(_stored(elements, header, element), header)


def _pixel_element(elements: Elements) -> _PixelElement:
    """The pixel data element at the file's position, which is then moved to the element's value."""
    order: Literal["little", "big"] = "little" if elements.dataset.original_encoding[1] else "big"
    start = elements.file.read(8)
    if len(start) < 8:
        raise UnreadableImageError("the DICOM file has no pixel data")
    group, element = (int.from_bytes(start[at : at + 2], order) for at in (0, 2))
    # some files state explicit VR and use implicit; these codes differ from all lengths, as they would be odd
    explicit = start[4:6] in _REPRESENTATIONS
    length = elements.file.read(4) if explicit else start[4:]
    kind = start[4:6].decode() if explicit else "OW"
    return _PixelElement(PIXELS[group << 16 | element], kind, int.from_bytes(length, order))


def _stored(elements: Elements, header: Header, element: _PixelElement) -> NDArray[np.generic]:
    syntax = elements.syntax
    options = _pixel_options(header, element)
    require_size(options["columns"], options["rows"])
    require_photometric(header, options["samples_per_pixel"])
    if not syntax.is_transfer_syntax or syntax.is_encapsulated:
        decoder_of(syntax)  # refuses video, whose frames can't be separated
        frame = _compressed(elements.file, header, element)
        stream = read_codestream(frame, (options["rows"], options["columns"], options["samples_per_pixel"]))
        options |= {"number_of_frames": 1}
        header.coding_error = _coding_error(syntax, header, stream)
        if stream:
            require_supported(syntax, stream.precision, options["samples_per_pixel"])
            header.bits = stream.precision if stream.trusted else min(stream.precision, header.bits)
            return _as_header_states(decode(frame, 0, syntax, options | _of_codestream(stream)), options, stream)
        decoded = partial(decode, frame, 0, syntax)
    else:
        _require_pixels(header, element, options)
        header.coding_error = _coding_error(syntax, header, None)
        decoded = partial(decode, elements.file, header.frame, syntax)
    unused = _unused_below(header, options)
    if not unused:
        return decoded(options)
    above = options["bits_allocated"] - options["bits_stored"] - unused
    words: NDArray[Any] = decoded(options | {"bits_stored": options["bits_allocated"]})
    aligned: NDArray[Any] = (words << above) >> (above + unused)  # for signed words, the right shift extends the sign
    return aligned


def _compressed(file: BinaryIO, header: Header, element: _PixelElement) -> bytes:
    if element.length != _UNDEFINED:
        raise UnreadableImageError("its pixel data is not in fragments, which its transfer syntax requires")
    extended = header.get("ExtendedOffsetTable")
    return read_fragments(file, header.frame, header.frames, extended if isinstance(extended, bytes) else None)


def _of_codestream(stream: Codestream) -> dict[str, int]:
    return {
        "bits_allocated": stream.word,
        "bits_stored": stream.precision,
        "pixel_representation": int(stream.signed),
    }


def _as_header_states(words: NDArray[Any], options: dict[str, Any], stream: Codestream) -> NDArray[np.generic]:
    """Decoded words as BitsStored and PixelRepresentation define them (PS3.5 8.1.1): the same bits, another sign."""
    signed, stored = options["pixel_representation"], options["bits_stored"]
    kind = np.dtype(f"{'i' if signed else 'u'}{max(options['bits_allocated'], stream.word) // 8}")
    precision, width = stream.precision, 8 * kind.itemsize
    if signed and not stream.signed:
        kept = stored if precision >= stored else width  # otherwise the codestream has no sign bit
    elif stream.signed and not signed:
        kept = precision
    else:
        kept = width if stream.trusted else stored
    values = words.astype(kind, copy=False)  # a negative value becomes the unsigned one of the same bits
    unused = max(width - kept, 0)
    return values if not unused else np.asarray((values << unused) >> unused)


def _coding_error(syntax: str, header: Header, stream: Codestream | None) -> float:
    """Maximum error of stored values by their coding; infinite if it is not stated."""
    lossy = header.code("LossyImageCompression")
    if stream and stream.near is not None:
        return float("inf") if lossy == "01" and not stream.near else stream.near
    return float("inf") if lossy == "01" or syntax in _LOSSY or (syntax in _EITHER and lossy != "00") else 0.0


def _require_pixels(header: Header, element: _PixelElement, options: dict[str, Any]) -> None:
    bits = options["rows"] * options["columns"] * options["samples_per_pixel"] * options["bits_allocated"]
    if header.code("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    if element.length == _UNDEFINED or element.length * 8 < (header.frame + 1) * bits:
        raise UnreadableImageError("it holds fewer pixels than Rows, Columns, NumberOfFrames and BitsAllocated state")


def _unused_below(header: Header, options: dict[str, Any]) -> int:
    """Number of unused low-order bits of each word: HighBit + 1 - BitsStored (PS3.5 8.1.1)."""
    stored: int = options["bits_stored"]
    unused: int = header.natural("HighBit", stored - 1) - (stored - 1)
    if not 0 <= unused <= options["bits_allocated"] - stored:
        raise UnreadableImageError(_CONTRADICTION)
    if unused and options["photometric_interpretation"].startswith("YBR"):
        raise UnreadableImageError("its HighBit does not match BitsStored, which is unsupported for YBR colors")
    return unused


def _pixel_options(header: Header, element: _PixelElement) -> dict[str, Any]:
    """The header's values that pydicom's decoders need, by pydicom's names."""
    allocated = header.natural("BitsAllocated")
    if allocated not in {1, 8, 16, 32, 64}:
        raise UnreadableImageError("its BitsAllocated is unsupported; supported: 1, 8, 16, 32, 64")
    stored = header.natural("BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise UnreadableImageError(_CONTRADICTION)
    options: dict[str, Any] = {
        "rows": header.natural("Rows"),
        "columns": header.natural("Columns"),
        "samples_per_pixel": header.natural("SamplesPerPixel", 1),
        "bits_allocated": allocated,
        "bits_stored": stored,
        "photometric_interpretation": header.code("PhotometricInterpretation"),
        "number_of_frames": header.frames,
        "pixel_keyword": element.keyword,
        "pixel_vr": element.kind,
    }
    if element.keyword == "PixelData":
        options["pixel_representation"] = _flag(header, "PixelRepresentation")
        header.signed = options["pixel_representation"] == 1
    if options["samples_per_pixel"] > 1:
        options["planar_configuration"] = _flag(header, "PlanarConfiguration")
    header.bits = stored
    return options


def _flag(header: Header, keyword: str) -> int:
    value = header.natural(keyword, 0)
    if value > 1:
        raise UnreadableImageError(f"its {keyword} is neither 0 nor 1")
    return value
