"""Compressed frames of DICOM: what their own headers say, before anything is decoded."""

from medscreen.ingestion.jpeg_scans import require_few_scans
from medscreen.ingestion.refusal import UnreadableImageError

_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, then its size segment
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # JPEG's start-of-frame markers, JPEG-LS's
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length


def require_shape(frame: bytes, shape: tuple[int, int, int]) -> None:
    """Raises UnreadableImageError where a compressed frame is not of `shape`: rows, columns, samples.

    A decoder allocates what the codestream says, not what the file's header does. RLE says nothing, and swells at
    most 64 times: a frame much larger than its pixels is none.
    """
    rows, columns, samples = shape
    if len(frame) > 16 * rows * columns * samples + 2**20:
        raise UnreadableImageError("its compressed frame is larger than its pixels can be")
    stated = None
    if frame[:2] == b"\xff\xd8":
        require_few_scans(frame)
        stated = _jpeg_shape(frame)
    elif (start := frame.find(_JPEG_2000, 0, 4096)) >= 0:
        stated = _jpeg_2000_shape(frame[start + 4 :])
    if stated and stated != shape:
        raise UnreadableImageError("the size in its compressed frame is not that of Rows, Columns and SamplesPerPixel")


def _jpeg_shape(frame: bytes) -> tuple[int, int, int]:
    place = 2
    while place + 9 < len(frame):
        if frame[place] != 0xFF:
            break
        marker = frame[place + 1]
        if marker in _FRAMES:
            rows, columns = (int.from_bytes(frame[at : at + 2]) for at in (place + 5, place + 7))
            return rows, columns, frame[place + 9]
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    raise UnreadableImageError("its compressed frame is a JPEG codestream without a size")


def _jpeg_2000_shape(segment: bytes) -> tuple[int, int, int]:
    if len(segment) < 38:
        raise UnreadableImageError("its compressed frame is a JPEG 2000 codestream without a size")
    right, bottom, left, top = (int.from_bytes(segment[at : at + 4]) for at in range(4, 20, 4))
    return bottom - top, right - left, int.from_bytes(segment[36:38])
