"""Shape, bits and error bound of a compressed frame, from the header of its codestream."""

from dataclasses import dataclass

from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.jpeg_scans import ALONE, FRAMES, JPEG_LS, SCAN, require_few_scans

_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, then its size segment
_STARTS = (b"\xff\xd8", _JPEG_2000, b"\x00\x00\x00\x0cjP")  # the last: a JPEG 2000 file


@dataclass(frozen=True)
class Codestream:
    """Properties of a compressed frame: `shape` is rows, columns, samples; `precision` the bits of a sample.

    `near`: the maximum error of a sample in JPEG-LS; None for other codings, which do not state it. `trusted`: True for
    JPEG 2000 and JPEG-LS, whose precision overrides BitsStored; JPEG may store whole words.
    """

    shape: tuple[int, int, int]
    precision: int
    signed: bool = False
    near: int | None = None
    trusted: bool = True

    @property
    def word(self) -> int:
        """Bits of the words that decoders return for this precision."""
        return 8 if self.precision <= 8 else 16 if self.precision <= 16 else 32


def begins_codestream(head: bytes) -> bool:
    """True if these are the first bytes of a frame's first fragment; other fragments begin otherwise."""
    return head.startswith(_STARTS)


def read_codestream(frame: bytes, shape: tuple[int, int, int]) -> Codestream | None:
    """The properties of a compressed frame that should have `shape`; None for RLE, which states none.

    Decoders allocate memory by the codestream, not by the file's header. RLE expands at most 64 times, so that the size
    of the frame is limited, too. Raises UnreadableImageError if the shapes differ or the frame is too large.
    """
    rows, columns, samples = shape
    if len(frame) > 16 * rows * columns * samples + 2**20:
        raise UnreadableImageError("its compressed frame is larger than its pixels can be")
    stated = None
    if frame[:2] == b"\xff\xd8":
        require_few_scans(frame)
        stated = _jpeg(frame)
    elif (start := frame.find(_JPEG_2000, 0, 4096)) >= 0:
        stated = _jpeg_2000(frame[start + 4 :])
    if stated and stated.shape != shape:
        raise UnreadableImageError("the size in its compressed frame differs from Rows, Columns and SamplesPerPixel")
    return stated


def _jpeg(frame: bytes) -> Codestream:
    place, marker, found = 2, 0, None
    while place + 9 < len(frame) and marker != SCAN:
        if frame[place] != 0xFF:
            break
        marker = frame[place + 1]
        if marker in FRAMES:
            rows, columns = (int.from_bytes(frame[at : at + 2]) for at in (place + 5, place + 7))
            found = Codestream((rows, columns, frame[place + 9]), frame[place + 4], trusted=marker == JPEG_LS)
            if not found.trusted:
                return found
        if marker == SCAN and found:  # JPEG-LS states its error there
            at = place + 5 + 2 * frame[place + 4]
            return Codestream(found.shape, found.precision, near=frame[at] if at < len(frame) else None)
        if marker == 0xFF:  # fill bytes may precede a marker
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(frame[place + 2 : place + 4])
    if found:
        return found
    raise UnreadableImageError("its compressed frame is a JPEG codestream without a size")


def _jpeg_2000(segment: bytes) -> Codestream:
    samples = int.from_bytes(segment[36:38])
    components = {segment[at] for at in range(38, 38 + 3 * samples, 3) if at < len(segment)}
    if len(segment) < 38 + 3 * samples or not samples:
        raise UnreadableImageError("its compressed frame is a JPEG 2000 codestream without a size")
    if len(components) > 1:
        raise UnreadableImageError("the samples of its JPEG 2000 codestream differ in precision, which is unsupported")
    right, bottom, left, top = (int.from_bytes(segment[at : at + 4]) for at in range(4, 20, 4))
    kind = components.pop()
    return Codestream((bottom - top, right - left, samples), (kind & 0x7F) + 1, signed=bool(kind & 0x80))
