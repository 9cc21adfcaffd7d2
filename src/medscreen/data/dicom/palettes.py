"""Palettes: colors of all stored values, or of those from a first value on (PS3.3 C.7.6.3.1.5, C.7.6.19, C.7.9).

pydicom's functions let the index of a table of 8-bit entries wrap around, and expand segmented palettes without limit.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medscreen.data.dicom.headers import Header
from medscreen.data.dicom.luts import Descriptor, Table, descriptor, entries, packed_bytes, words_of
from medscreen.data.display import Grey, luminance
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.levels import levels_of

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement

_COLORS = ("Red", "Green", "Blue")
_COLORED = {"COLOR", "MIXED"}
_DESCRIPTOR = "PaletteColorLookupTableDescriptor"


def palette_grey(stored: NDArray[np.generic], header: Header) -> Grey:
    """The luminance (H, W) of indices (H, W) into the file's palette; raises UnreadableImageError if it is invalid."""
    levels = levels_of(stored)
    return _luminance(levels.values, header)[0].take(levels.index)


def supplemental_grey(values: NDArray[np.float64], header: Header) -> tuple[NDArray[np.bool_], Grey] | None:
    """Mask (L,) of the stored values of a monochrome image that have a color, and their luminance (L,).

    None if the file has no supplemental palette, or its PixelPresentation does not state its use.
    """
    if header.code("PixelPresentation") not in _COLORED or header.get(f"{_COLORS[0]}{_DESCRIPTOR}") is None:
        return None
    grey, first = _luminance(values, header)
    return values >= first, grey


def _luminance(values: NDArray[np.float64], header: Header) -> tuple[Grey, int]:
    """The luminance (L,) of stored values (L,), and the first value that is mapped."""
    tables = [_table(color, values, header) for color in _COLORS]
    shades = np.stack([table.of(values) for table in tables], axis=-1)
    # some files store 8-bit values in 16-bit entries
    white = 255.0 if max(table.data.max() for table in tables) <= 255 else 65535.0
    return luminance(shades[None], white)[0], tables[0].descriptor.first


def _table(color: str, values: NDArray[np.float64], header: Header) -> Table:
    described = descriptor(header.element(f"{color}{_DESCRIPTOR}"), header, values, header.signed)
    if header.get(f"{color}PaletteColorLookupTableData") is not None:
        return Table(described, entries(header.element(f"{color}PaletteColorLookupTableData"), described, header))
    segments = header.element(f"Segmented{color}PaletteColorLookupTableData")
    return Table(described, _expanded(_segment_words(segments, described, header), described.entries))


def _segment_words(element: "DataElement", described: Descriptor, header: Header) -> NDArray[np.int64]:
    if described.bits <= 8 and isinstance(element.value, bytes):
        return packed_bytes(element, header)
    return words_of(element.value, 16, header)


def _expanded(words: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """Expands a segmented table to `number` entries; raises UnreadableImageError if it is invalid."""
    table: list[float] = []
    position = 0
    while position + 2 < len(words) and len(table) < number:
        kind, length = (int(word) for word in words[position : position + 2])
        if kind == 0:
            table += words[position + 2 : position + 2 + length].tolist()
            position += 2 + length
        elif kind == 1 and table:
            table += np.rint(np.linspace(table[-1], float(words[position + 2]), length + 1)[1:]).tolist()
            position += 3
        else:
            raise UnreadableImageError("a segmented palette of its header has segments of an unsupported type")
    if len(table) < number:
        raise UnreadableImageError("a segmented palette of its header has fewer entries than its descriptor states")
    return np.array(table[:number])
