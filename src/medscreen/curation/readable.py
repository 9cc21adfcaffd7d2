"""Which records can be read, and their pixels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medscreen.images import Pixels, forget, image_digest
from medscreen.ingestion import UnreadableImageError, read_grey, to_square
from medscreen.processes import worker_pool
from medscreen.sources import Record

_CHUNK = 32  # records that a worker takes at a time
_AT_ONCE = 16 * _CHUNK
_FORGET_EVERY = 64  # images, after which what was written leaves the memory


@dataclass
class Readable:
    """Records whose image was read, and the digest of each image; their pixels are in the same order."""

    records: list[Record] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)


def decode(
    records: Sequence[Record], size: int, workers: int, scratch: Path, on_record: Callable[[], None]
) -> tuple[Pixels, Readable, list[dict[str, str]]]:
    """Pixels (N, size, size) and records of what can be read, and file and reason of what can't."""
    pixels = open_memmap(scratch, mode="w+", dtype=np.uint8, shape=(len(records), size, size))
    readable, quarantine = Readable(), []
    for record, outcome in zip(records, _decoded(records, size, workers), strict=True):
        on_record()
        if isinstance(outcome, str):
            quarantine.append({"file": record.origin, "reason": outcome})
            continue
        pixels[len(readable.records)], digest = outcome
        readable.records.append(record)
        readable.digests.append(digest)
        if len(readable.records) % _FORGET_EVERY == 0:
            forget(pixels)
    return pixels[: len(readable.records)], readable, quarantine


def _decoded(records: Sequence[Record], size: int, workers: int) -> Iterator[tuple[NDArray[np.uint8], str] | str]:
    images = [record.image for record in records]
    if all(isinstance(image, np.ndarray) for image in images):  # nothing to decode: a process would only copy
        yield from (_decode_one(image, size) for image in images)
        return
    with worker_pool(workers) as pool:
        # some at a time: what workers have decoded waits in memory until it is taken
        for start in range(0, len(images), _AT_ONCE):
            taken = images[start : start + _AT_ONCE]
            yield from pool.map(_decode_one, taken, [size] * len(taken), chunksize=_CHUNK)


def _decode_one(image: "Path | NDArray[np.uint8]", size: int) -> tuple[NDArray[np.uint8], str] | str:
    """The square image and the digest of its full-size pixels, or the reason why there is none."""
    try:
        grey = read_grey(image) if isinstance(image, Path) else image
        return to_square(grey, size), image_digest(grey)
    except UnreadableImageError as error:
        return str(error)
