"""Which records can be read, and their pixels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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

    `digests`: of each image; `spacings`: (row, column) in mm, None where the file does not say; `described`: what DICOM
    states of the image, see `ingestion.Shown`; `burned_in`: how many files, quarantined ones among them, say that text
    is burned into their pixels; `for_processing`: how many hold raw values of a detector; `others`: how many pages and
    frames lie in files of which the source takes one image.
    """

    records: list[Record] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    spacings: list[tuple[float, float] | None] = field(default_factory=list)
    described: list[Mapping[str, str] | None] = field(default_factory=list)
    burned_in: int = 0
    for_processing: int = 0
    others: int = 0


@dataclass(frozen=True)
class _Decoded:
    """A square image, the digest of its full-size pixels, and what its file says of it, see `Shown`."""

    square: NDArray[np.uint8]
    digest: str
    spacing: tuple[float, float] | None
    burned_in: bool
    described: Mapping[str, str] | None
    for_processing: bool
    others: int


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
        pixels[len(readable.records)] = outcome.square
        readable.records.append(record)
        readable.digests.append(outcome.digest)
        readable.spacings.append(outcome.spacing)
        readable.described.append(known.setdefault(str(outcome.described), outcome.described))
        readable.burned_in += outcome.burned_in
        readable.for_processing += outcome.for_processing
        readable.others += outcome.others
        if len(readable.records) % _FORGET_EVERY == 0:
            forget(pixels)
    return pixels[: len(readable.records)], readable, quarantine


def _decoded(records: Sequence[Record], size: int, workers: int) -> Iterator[_Decoded | str]:
    if all(isinstance(record.image, np.ndarray) for record in records):  # nothing to decode: a process would only copy
        yield from (_decode_one(record, size) for record in records)
        return
    with worker_pool(workers) as pool:
        # some at a time: what workers have decoded waits in memory until it is taken
        for start in range(0, len(records), _AT_ONCE):
            taken = records[start : start + _AT_ONCE]
            yield from pool.map(_decode_one, taken, [size] * len(taken), chunksize=_CHUNK)


def _decode_one(record: Record, size: int) -> _Decoded | str:
    """What is kept of a record's image, or the reason why there is none."""
    try:
        image = record.image
        shown = read_image(image, record.display, record.frame) if isinstance(image, Path) else Shown(image)
        return _Decoded(
            to_square(shown.grey, size),
            image_digest(shown.grey),
            shown.spacing,
            shown.burned_in,
            shown.described,
            shown.for_processing,
            shown.others if record.frame is None else 0,  # whoever chose a frame has counted the others
        )
    except UnreadableImageError as error:
        return str(error)
