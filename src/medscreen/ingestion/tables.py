"""DICOM's lookup tables: modality, VOI and palette (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5, C.7.9).

pydicom's own functions index a table of 8-bit entries with 8 bits, refuse entries of 10 to 15 bits, and expand a
segmented palette to whatever size it says.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medscreen.ingestion.grey import Grey, luminance
from medscreen.ingestion.headers import Header
from medscreen.ingestion.levels import levels_of
from medscreen.ingestion.refusal import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset

_COLOURS = ("Red", "Green", "Blue")


def sequence_table(values: NDArray[np.float64], header: Header, keyword: str) -> tuple[NDArray[np.float64], float]:
    """What the LUT of the sequence `keyword` makes of `values`, and the largest entry that its bits allow.

    Raises UnreadableImageError for a malformed table.
    """
    try:
        item: Dataset = header.get(keyword)[0]
        entries, first, bits = (int(part) for part in item.LUTDescriptor)
        table = _entries(item.LUTData, entries or 2**16, header)
    except UnreadableImageError:
        raise
    except Exception:  # pydicom converts when it is asked, and quotes what it can't convert
        raise UnreadableImageError(f"the table in {keyword} of its header is malformed") from None
    return _looked_up(values, first, table), 2.0 ** min(bits, 16) - 1


def palette_grey(stored: NDArray[np.generic], header: Header) -> Grey:
    """The luminance (H, W) of indices (H, W) into the file's palette; raises UnreadableImageError for a broken one."""
    levels = levels_of(stored)
    shades = []
    for colour in _COLOURS:
        descriptor = header.numbers(f"{colour}PaletteColorLookupTableDescriptor")
        if len(descriptor) != 3:
            raise UnreadableImageError(f"{colour}PaletteColorLookupTableDescriptor of its header is no triple")
        entries = int(descriptor[0]) or 2**16
        data = header.get(f"{colour}PaletteColorLookupTableData")
        if data is None:
            segments = header.get(f"Segmented{colour}PaletteColorLookupTableData")
            table = _expanded(_words(segments, 8 if descriptor[2] == 8 else 16, header), entries)
        else:
            table = _entries(data, entries, header)
        shades.append(_looked_up(levels.values, int(descriptor[1]), table))
    colours = np.stack(shades, axis=-1)
    # some write shades of 8 bits into entries of 16
    white = 255.0 if colours.max() <= 255 else 65535.0
    return np.asarray(luminance(colours[None], white)[0][levels.index])


def _looked_up(values: NDArray[np.float64], first: int, table: NDArray[np.float64]) -> NDArray[np.float64]:
    return table[np.clip(values - first, 0, len(table) - 1).astype(np.int64)]


def _entries(data: Any, entries: int, header: Header) -> NDArray[np.float64]:
    words = _words(data, 16 if not isinstance(data, bytes) or len(data) >= 2 * entries else 8, header)[:entries]
    if len(words) < entries:
        raise UnreadableImageError("a lookup table of its header has fewer entries than it says")
    return words.astype(np.float64)


def _words(data: Any, bits: int, header: Header) -> NDArray[np.int64]:
    """Words of 8 or 16 bits, from bytes or from numbers that pydicom has read already."""
    if isinstance(data, bytes):
        order = "<" if header.little_endian else ">"
        kind = np.dtype("u1" if bits == 8 else f"{order}u2")
        return np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind).astype(np.int64)
    if isinstance(data, Iterable):
        return np.array([int(word) for word in data], np.int64)
    raise UnreadableImageError("a lookup table of its header is missing or malformed")


def _expanded(words: NDArray[np.int64], entries: int) -> NDArray[np.float64]:
    """A segmented table, to at most so many entries."""
    table: list[float] = []
    position = 0
    while position + 2 < len(words) and len(table) < entries:
        kind, length = (int(word) for word in words[position : position + 2])
        if kind == 0:
            table += words[position + 2 : position + 2 + length].tolist()
            position += 2 + length
        elif kind == 1 and table:
            table += np.rint(np.linspace(table[-1], float(words[position + 2]), length + 1)[1:]).tolist()
            position += 3
        else:
            raise UnreadableImageError("a segmented palette of its header has segments that are not read")
    if not table:
        raise UnreadableImageError("a segmented palette of its header is empty")
    return np.array(table[:entries])
