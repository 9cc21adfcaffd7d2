"""Decoding: records -> pixels, and the reasons of those that can't be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from medscreen.data.display import to_square
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.images import Pixels, forget, image_digest, new_array
from medscreen.data.load_image import BURNED_IN, Shown, read_image
from medscreen.data.sources.records import Record
from medscreen.runtime.child_processes import worker_pool

_CHUNK = 32  # records that a worker takes at a time
_AT_ONCE = 16 * _CHUNK
_FORGET_EVERY = 64  # images, after which what was written leaves the memory


@dataclass
class Readable:
    """Records whose image was read, in the order of their pixels.

    `digests`: of each full-size image; `spacings`: (row, column) in mm, None where not stated; `described`: what DICOM
    states of the image, see `load_image.Shown`; `burned_in`: how many files, quarantined ones among them, state that
    text is burned into their pixels; `for_processing`: how many hold raw values of a detector; `others`: how many pages
    and frames lie in files of which the source takes one image.
    """

    records: list[Record] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    spacings: list[tuple[float, float] | None] = field(default_factory=list)
    described: list[Mapping[str, str] | None] = field(default_factory=list)
    burned_in: int = 0
    for_processing: int = 0
    others: int = 0


_Decoded = tuple[Shown, str] | str
"""A square image and the digest of its full-size pixels, or the reason why it can't be read."""


def decode(
    records: Sequence[Record], size: int, workers: int, scratch: Path, on_record: Callable[[], None]
) -> tuple[Pixels, Readable, list[dict[str, str]]]:
    """Pixels (N, size, size) and records of what can be read, and file and reason of what can't."""
    pixels = new_array(scratch, np.uint8, (len(records), size, size))
    readable, quarantine = Readable(), []
    known: dict[str, Mapping[str, str] | None] = {}  # one for all images of a kind, not one an image
    for record, outcome in zip(records, _decoded(records, size, workers), strict=True):
        on_record()
        if isinstance(outcome, str):
            quarantine.append({"file": record.origin, "reason": outcome})
            readable.burned_in += outcome == BURNED_IN
            continue
        shown, digest = outcome
        pixels[len(readable.records)] = shown.grey
        readable.records.append(record)
        readable.digests.append(digest)
        readable.spacings.append(shown.spacing)
        readable.described.append(known.setdefault(str(shown.described), shown.described))
        readable.burned_in += shown.burned_in
        readable.for_processing += shown.for_processing
        # a source that chose a frame has counted the others
        readable.others += shown.others if record.frame is None else 0
        if len(readable.records) % _FORGET_EVERY == 0:
            forget(pixels)
    return pixels[: len(readable.records)], readable, quarantine


def _decoded(records: Sequence[Record], size: int, workers: int) -> Iterator[_Decoded]:
    if all(isinstance(record.image, np.ndarray) for record in records):  # nothing to decode: a process would only copy
        yield from (_decode_one(record, size) for record in records)
        return
    with worker_pool(workers) as pool:
        # some at a time: what workers have decoded waits in memory until it is taken
        for start in range(0, len(records), _AT_ONCE):
            taken = records[start : start + _AT_ONCE]
            yield from pool.map(_decode_one, taken, [size] * len(taken), chunksize=_CHUNK)


def _decode_one(record: Record, size: int) -> _Decoded:
    image = record.image
    try:
        shown = read_image(image, record.display, record.frame) if isinstance(image, Path) else Shown(image)
        return replace(shown, grey=to_square(shown.grey, size)), image_digest(shown.grey)
    except UnreadableImageError as error:
        return str(error)
