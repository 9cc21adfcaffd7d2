"""Limit on the number of scans of a JPEG, checked before decoding: each scan costs a pass over all pixels."""

import re

from medscreen.data.image_errors import UnreadableImageError

_ALWAYS = 32  # scans that are always accepted; encoders write about ten
_MOST_PASSED = 10**9  # pixels of all scans: two seconds of decoding; an empty scan of ten bytes takes as long
JPEG_LS, SCAN, _END = 0xF7, 0xDA, 0xD9
FRAMES = frozenset({*range(0xC0, 0xD0), JPEG_LS}) - {0xC4, 0xC8, 0xCC}
"""Markers of a start of frame, of JPEG and JPEG-LS, whose segment holds precision, rows, columns and samples."""
ALONE = frozenset({0x01, *range(0xD0, 0xDA)})
"""Markers without a length."""
# 0xFF in a scan precedes a stuffed byte (JPEG: 0; JPEG-LS: less than 0x80), a restart marker or the next segment
_SEGMENT = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")


def require_few_scans(content: bytes) -> None:
    """Raises UnreadableImageError for a JPEG, or a DICOM frame of one, with too many scans.

    Incomplete JPEG data is accepted here and refused by the decoder.
    """
    scans, pixels, place = 0, 0, 2
    while found := _SEGMENT.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == _END:
            return
        if marker in ALONE:
            continue
        length = int.from_bytes(content[place : place + 2])
        if marker in FRAMES:
            pixels = int.from_bytes(content[place + 3 : place + 5]) * int.from_bytes(content[place + 5 : place + 7])
        scans += marker == SCAN
        if scans > max(_ALWAYS, _MOST_PASSED // max(pixels, 1)):
            raise UnreadableImageError("its JPEG data has too many scans: save it as a baseline JPEG")
        place += max(length, 2)
