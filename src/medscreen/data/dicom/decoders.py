"""Decoders of DICOM transfer syntaxes: pydicom's plugins, and GDCM directly for 12-bit JPEG."""

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.library_logging import quiet_stderr

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

_JPEG = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})  # of 8 or 12 bits
_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_LS = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
# Lossless JPEG, JPEG-LS; high-throughput JPEG 2000
_GDCM = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (57, 70, 80, 81))
_OPENJPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
_WITHOUT_C = frozenset({"1.2.840.10008.1.2", *(f"1.2.840.10008.1.2.{number}" for number in ("1", "1.99", "2", "5"))})
_Way = Callable[[], tuple[NDArray[np.generic], *tuple[Any, ...]]]
"""A decoder call; the pixels are the first item of its result."""


def decoder_of(syntax: "UID") -> "Decoder":
    """pydicom's decoder of a transfer syntax; raises UnreadableImageError if there is none."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return get_decoder(syntax)
    except NotImplementedError:
        raise UnreadableImageError(
            f"its transfer syntax ({_name(syntax)}) has no decoder here; convert it, for instance with gdcmconv or "
            "dcmdjpeg"
        ) from None


def decode(source: BinaryIO | bytes, index: int, syntax: "UID", options: dict[str, Any]) -> NDArray[np.generic]:
    """The frame at `index` of pixel data, (H, W) or RGB (H, W, 3).

    `options`: the header's values by pydicom's names, or for a codestream the values that it states; otherwise decoders
    differ: Pillow's plugin shifts signed values that the header calls unsigned. Raises UnreadableImageError if there is
    no decoder, or all decoders fail.
    """
    from pydicom.encaps import encapsulate

    decoder = decoder_of(syntax)
    package = _package(syntax, options)
    if package and importlib.util.find_spec(package) is None:
        raise UnreadableImageError(
            f"its transfer syntax ({_name(syntax)}) needs further decoders: pip install 'medscreen[dicom]'"
        )
    if isinstance(source, bytes) and syntax in _JPEG and package:
        ways: list[_Way] = [partial(_decode_12_bits, source, options)]
    else:
        frame = encapsulate([source]) if isinstance(source, bytes) else source
        # first the decoder that is always installed, so that the extra does not change results
        plugins = [name for name in ("pillow", "") if not name or name in decoder.available_plugins]
        ways = [partial(decoder.as_array, frame, index=index, decoding_plugin=name, **options) for name in plugins]
    with nullcontext() if syntax in _WITHOUT_C else quiet_stderr():
        values = next((found for way in ways if (found := _decoded(way)) is not None), None)
    if values is None:
        raise UnreadableImageError(f"its pixel data ({_name(syntax)}) is damaged")
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _decoded(way: _Way) -> NDArray[np.generic] | None:
    try:
        return way()[0]
    except MemoryError:
        raise
    except Exception:  # decoders raise any exception on broken data, and quote the header
        return None


def require_supported(syntax: "UID", bits: int, samples: int) -> None:
    """Raises UnreadableImageError for codestreams that the decoder of their syntax does not support."""
    if (
        (syntax in _JPEG and bits not in {8, 12})
        or (syntax in _JPEG and bits == 12 and samples > 1)
        or (syntax in _JPEG_LS and bits in {6, 7})  # which pydicom does not pass to GDCM
        or (syntax in _GDCM and bits > 16)
    ):
        raise UnreadableImageError(
            f"its transfer syntax ({_name(syntax)}) is unsupported for {samples} samples of {bits} bits a pixel; "
            "convert it to Explicit VR Little Endian, for instance with gdcmconv --raw or dcmdjpeg"
        )


def _package(syntax: str, options: dict[str, Any]) -> str | None:
    """The package of the extra that decodes such pixels; None if pydicom and Pillow do."""
    bits, samples = options["bits_stored"], options["samples_per_pixel"]
    if syntax in _GDCM or (syntax in _JPEG and bits > 8):
        return "gdcm"
    if syntax in _OPENJPEG or (syntax in _JPEG_2000 and (bits > 16 or (bits > 8 and samples > 1))):
        return "openjpeg"
    return None


def _decode_12_bits(frame: bytes, options: dict[str, Any]) -> tuple[NDArray[np.generic]]:
    """Pixels of a 12-bit JPEG frame, decoded by GDCM, which pydicom does not use for these."""
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((options["columns"], options["rows"], 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(_EXTENDED)))
    bits = options["bits_stored"]
    image.SetPixelFormat(gdcm.PixelFormat(options["samples_per_pixel"], 16, bits, bits - 1, 0))
    values = np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), "<u2")
    return (values.reshape(options["rows"], options["columns"]),)


def _name(syntax: "UID") -> str:
    """The standard's name of a transfer syntax; the text in the file is never quoted."""
    return syntax.name if syntax.is_transfer_syntax and syntax.name != syntax else "unknown"
