"""DICOM's lookup tables: modality and VOI (PS3.3 C.11.1, C.11.2), and what palettes share with them.

pydicom's own functions index a table of 8-bit entries with 8 bits and refuse entries of 10 to 15 bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.dicom.headers import Header
from medscreen.data.image_errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

_WORDS = 2**16


@dataclass(frozen=True)
class Descriptor:
    """A LUT Descriptor: the number of entries, the first value that is mapped, the bits of an entry."""

    entries: int
    first: int
    bits: int


@dataclass(frozen=True)
class Table:
    """A lookup table: its descriptor, and its entries as they stand in the file."""

    descriptor: Descriptor
    data: NDArray[np.float64]

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entries for values, the first or last one for values beyond the table."""
        places = np.clip(np.rint(values - self.descriptor.first), 0, len(self.data) - 1)
        return self.data[places.astype(np.intp)]

    @property
    def white(self) -> float:
        """The entry that is shown white: the largest one that the descriptor's bits allow.

        Some files declare 16 bits for entries of 8 or 12, others 8 bits for entries of more: white is the largest
        entry in a table that leaves half of what it declares unused, or exceeds it.
        """
        largest, declared = float(self.data.max()), 2.0**self.descriptor.bits - 1
        return declared if declared / 2 < largest <= declared else max(largest, 1.0)


def sequence_table(header: Header, keyword: str, values: NDArray[np.float64], negative: bool) -> Table:
    """The first table of the sequence `keyword`, which maps `values`; `negative`: whether those may be below 0.

    Raises UnreadableImageError for a malformed table.
    """
    try:
        item = header.get(keyword)[0]
        described = descriptor(item["LUTDescriptor"], header, values, negative)
        return Table(described, entries(item["LUTData"], described, header))
    except UnreadableImageError:
        raise
    except Exception:  # pydicom converts when it is asked, and quotes what it can't convert
        raise UnreadableImageError(f"the table in {keyword} of its header is malformed") from None


def descriptor(element: "DataElement", header: Header, values: NDArray[np.float64], negative: bool) -> Descriptor:
    """The LUT Descriptor in an element, of a table that maps `values`.

    Its first value mapped has 16 bits with a sign, or without: by the element's representation, or in a header without
    representations by `negative` (PS3.3 C.11.2.1.1). The other reading is taken where by that one no value is mapped.
    """
    words = words_of(element.value, 16, header)
    if len(words) != 3:
        raise UnreadableImageError("a descriptor of a lookup table of its header has not three values")
    number, first, bits = (int(word) for word in words)
    number = number or _WORDS
    signed = negative if header.implicit else element.VR == "SS"
    readings = [first - _WORDS, first] if signed else [first, first - _WORDS]
    if first < _WORDS // 2:
        readings = [first]
    low, high = values.min(), values.max()
    first = next((reading for reading in readings if reading <= high and reading + number > low), readings[0])
    return Descriptor(number, first, bits if 1 <= bits <= 16 else 16)


def entries(element: "DataElement", described: Descriptor, header: Header) -> NDArray[np.float64]:
    """The entries of a table: words, or bytes of which a word holds two, the lower one first."""
    number, data = described.entries, element.value
    if isinstance(data, bytes):
        packed = number <= len(data) <= number + 1 and len(data) < 2 * number
        words = packed_bytes(element, header) if packed else words_of(data, 16, header)
    else:
        words = words_of(data, 16, header)
        if len(words) == (number + 1) // 2 < number and described.bits <= 8:
            words = np.stack([words & 0xFF, words >> 8], axis=-1).ravel()
    if len(words) < number:
        raise UnreadableImageError("a lookup table of its header has fewer entries than it says")
    return words[:number].astype(np.float64)


def packed_bytes(element: "DataElement", header: Header) -> NDArray[np.int64]:
    """The bytes of an element in the order of its entries: in words of a big-endian file the lower one is second."""
    bytes_ = words_of(element.value, 8, header)
    swapped = not header.little_endian and element.VR == "OW" and len(bytes_) % 2 == 0
    return bytes_.reshape(-1, 2)[:, ::-1].ravel() if swapped else bytes_


def words_of(data: Any, bits: int, header: Header) -> NDArray[np.int64]:
    """Words of 8 or 16 bits, from bytes or from numbers that pydicom has read already."""
    if isinstance(data, bytes):
        order = "<" if header.little_endian else ">"
        kind = np.dtype("u1" if bits == 8 else f"{order}u2")
        return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.int64)
    numbers = data if isinstance(data, Iterable) else [data]
    return np.array([int(word) % _WORDS for word in numbers], np.int64)
