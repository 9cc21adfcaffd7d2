"""Fragments of encapsulated pixel data that form a frame (PS3.5 A.4, PS3.3 C.7.6.3.1.8).

A frame of JPEG, JPEG-LS or JPEG 2000 begins where its codestream does, and RLE has one fragment per frame. Offset
tables, which many files fill with zeros or with the offsets of another file, are used only if the fragments are
ambiguous. pydicom.encaps.get_frame always uses the offset table, and a wrong one gives wrong frames.
"""

import io
from itertools import pairwise
from struct import iter_unpack
from typing import BinaryIO, NamedTuple

from medscreen.data.dicom.codestreams import begins_codestream
from medscreen.data.image_errors import UnreadableImageError

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_MOST_FRAGMENTS = 2**18
_HEAD = 12  # first bytes of a fragment, by which a codestream is recognized


class _Fragment(NamedTuple):
    """A fragment: `offset` of its item from the first one's, `start` in the file and `length` of its value.

    `begins`: True if a codestream begins there; `whole`: False if the file is cut short in it.
    """

    offset: int
    start: int
    length: int
    begins: bool
    whole: bool = True


def read_fragments(file: BinaryIO, frame: int, frames: int, extended: bytes | None) -> bytes:
    """The bytes of a frame, from 0; the file's position is the value of the pixel data element.

    `extended`: the Extended Offset Table. Raises UnreadableImageError if the frame is cut short, or its beginning
    can't be determined.
    """
    basic = _basic_table(file)
    fragments = _fragments(file)
    begins = _begins(fragments, frame, frames, [_offsets(extended or b"", "Q"), _offsets(basic, "I")])
    found = fragments[begins[frame] : (*begins, len(fragments))[frame + 1]] if frame < len(begins) else []
    if not found or not found[-1].whole:
        raise UnreadableImageError("its pixel data is cut short or lacks the frame")
    parts = []
    for fragment in found:
        file.seek(fragment.start)
        parts.append(file.read(fragment.length))
    return b"".join(parts)


def _basic_table(file: BinaryIO) -> bytes:
    head = file.read(8)
    if len(head) < 8 or head[:4] != _ITEM:
        raise UnreadableImageError("its pixel data is cut short or lacks the frame")
    return file.read(int.from_bytes(head[4:], "little"))


def _offsets(table: bytes, kind: str) -> list[int]:
    size = 8 if kind == "Q" else 4
    return [offset for (offset,) in iter_unpack(f"<{kind}", table[: len(table) // size * size])]


def _fragments(file: BinaryIO) -> list[_Fragment]:
    """The fragments up to the delimiter, or up to the one in which the file is cut short."""
    begin = file.tell()
    end = file.seek(0, io.SEEK_END)
    found: list[_Fragment] = []
    place = begin
    while place < end:
        file.seek(place)
        head = file.read(8 + _HEAD)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] == _DELIMITER:
            break
        if len(found) == _MOST_FRAGMENTS:
            raise UnreadableImageError(f"more than {_MOST_FRAGMENTS:,} fragments of pixel data are unsupported")
        is_item = head[:4] == _ITEM
        whole = is_item and place + 8 + length <= end
        begins = is_item and begins_codestream(head[8 : 8 + length])
        found.append(_Fragment(place - begin, place + 8, length, begins, whole))
        if not whole:
            break
        place += 8 + length
    return found


def _begins(fragments: list[_Fragment], frame: int, frames: int, tables: list[list[int]]) -> list[int]:
    """Indices of the fragments at which frames begin, up to the frame after `frame` or beyond; fewer if some lack."""
    begins = [at for at, fragment in enumerate(fragments) if fragment.begins]
    if not begins and (frames == 1 or len(fragments) == frames):
        begins = list(range(len(fragments)))[:frames]
    if begins and begins[0] == 0 and len(begins) == frames:
        return begins
    places = {fragment.offset: at for at, fragment in enumerate(fragments)}
    if sound := next((found for table in tables if (found := _sound(table, frame, places))), None):
        return sound
    if begins and begins[0] == 0:
        return begins
    if len(fragments) > frames:
        raise UnreadableImageError(
            "its offset table does not state where each frame begins; write the file again, for instance with gdcmconv"
        )
    return []


def _sound(offsets: list[int], frame: int, places: dict[int, int]) -> list[int]:
    """Indices of the fragments at which frames begin, up to the frame after `frame`; [] if the table is invalid."""
    begins = [places.get(offset, -1) for offset in offsets[: frame + 2]]
    rising = all(before < after for before, after in pairwise(begins))
    return begins if begins and begins[0] == 0 and rising else []
