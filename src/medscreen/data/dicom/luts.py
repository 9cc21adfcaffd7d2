"""DICOM lookup tables: modality and VOI (PS3.3 C.11.1, C.11.2), and parts that palettes share with them.

pydicom's functions index a table of 8-bit entries with 8 bits and refuse entries of 10 to 15 bits.
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
    """A lookup table: its descriptor, and its entries as stored in the file."""

    descriptor: Descriptor
    data: NDArray[np.float64]

    def of(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The entries for values; the first or last entry for values outside the table."""
        places = np.clip(np.rint(values - self.descriptor.first), 0, len(self.data) - 1)
        return self.data[places.astype(np.intp)]

    @property
    def white(self) -> float:
        """The entry that is displayed white: the maximum of the descriptor's bits.

        Some files declare 16 bits for entries of 8 or 12, others 8 bits for larger entries: if the largest entry is at
        most half of the declared maximum, or exceeds it, white is the largest entry.
        """
        largest, declared = float(self.data.max()), 2.0**self.descriptor.bits - 1
        return declared if declared / 2 < largest <= declared else max(largest, 1.0)


def sequence_table(header: Header, keyword: str, values: NDArray[np.float64], negative: bool) -> Table:
    """The first table of the sequence `keyword`, which maps `values`; `negative`: True if these can be below 0.

    Raises UnreadableImageError for a malformed table.
    """
    try:
        item = header.get(keyword)[0]
        described = descriptor(item["LUTDescriptor"], header, values, negative)
        return Table(described, entries(item["LUTData"], described, header))
    except UnreadableImageError:
        raise
    except Exception:  # pydicom converts on access, and its message quotes the value
        raise UnreadableImageError(f"the table in {keyword} of its header is malformed") from None


def descriptor(element: "DataElement", header: Header, values: NDArray[np.float64], negative: bool) -> Descriptor:
    """The LUT Descriptor in an element, for a table that maps `values`.

    The first value mapped is a signed or unsigned 16-bit number: by the element's value representation or, with
    implicit VR, by `negative` (PS3.3 C.11.2.1.1). If no value is mapped that way, the other interpretation is used.
    """
    words = words_of(element.value, 16, header)
    if len(words) != 3:
        raise UnreadableImageError("a LUT Descriptor of its header does not have three values")
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
    """The entries of a table: words, or bytes packed two to a word, the lower one first."""
    number, data = described.entries, element.value
    if isinstance(data, bytes):
        packed = number <= len(data) <= number + 1 and len(data) < 2 * number
        words = packed_bytes(element, header) if packed else words_of(data, 16, header)
    else:
        words = words_of(data, 16, header)
        if len(words) == (number + 1) // 2 < number and described.bits <= 8:
            words = np.stack([words & 0xFF, words >> 8], axis=-1).ravel()
    if len(words) < number:
        raise UnreadableImageError("a lookup table of its header has fewer entries than its descriptor states")
    return words[:number].astype(np.float64)


def packed_bytes(element: "DataElement", header: Header) -> NDArray[np.int64]:
    """The bytes of an element in the order of its entries; big-endian words have the lower byte second."""
    bytes_ = words_of(element.value, 8, header)
    swapped = not header.little_endian and element.VR == "OW" and len(bytes_) % 2 == 0
    return bytes_.reshape(-1, 2)[:, ::-1].ravel() if swapped else bytes_


def words_of(data: Any, bits: int, header: Header) -> NDArray[np.int64]:
    """Words of 8 or 16 bits, from bytes or from numbers that pydicom has converted."""
    if isinstance(data, bytes):
        order = "<" if header.little_endian else ">"
        kind = np.dtype("u1" if bits == 8 else f"{order}u2")
        return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.int64)
    numbers = data if isinstance(data, Iterable) else [data]
    return np.array([int(word) % _WORDS for word in numbers], np.int64)
