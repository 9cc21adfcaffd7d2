"""Decoding: from records to pixels, or to the reason why a file can't be read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medscreen.data.display import to_square
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.images import Pixels, forget, image_digest, new_array
from medscreen.data.load_image import DisplayedImage, read_image
from medscreen.data.sources.records import Record
from medscreen.runtime.child_processes import worker_pool

_CHUNK = 32  # records that a worker takes at a time
_AT_ONCE = 16 * _CHUNK
_FORGET_EVERY = 64  # images after which written pixels are released from memory
_NO_GREY = np.zeros((0, 0), np.uint8)


class Decoded(NamedTuple):
    """A readable image: its record, the digest of its full-size pixels, and its file's properties without pixels."""

    record: Record
    digest: str
    displayed: DisplayedImage


def decode(
    records: Sequence[Record], size: int, workers: int, scratch: Path, on_record: Callable[[], None]
) -> tuple[Pixels, list[Decoded], list[dict[str, str]]]:
    """Pixels (N, size, size) and properties of the readable images; file and reason of the others."""
    pixels = new_array(scratch, np.uint8, (len(records), size, size))
    readable: list[Decoded] = []
    quarantine = []
    known: dict[str, Mapping[str, str] | None] = {}  # equal properties share one object
    for record, outcome in zip(records, _outcomes(records, size, workers), strict=True):
        on_record()
        if isinstance(outcome, str):
            quarantine.append({"file": record.origin, "reason": outcome})
            continue
        displayed, digest = outcome
        pixels[len(readable)] = displayed.grey
        described = known.setdefault(str(displayed.described), displayed.described)
        readable.append(Decoded(record, digest, replace(displayed, grey=_NO_GREY, described=described)))
        if len(readable) % _FORGET_EVERY == 0:
            forget(pixels)
    return pixels[: len(readable)], readable, quarantine


def _outcomes(records: Sequence[Record], size: int, workers: int) -> Iterator[tuple[DisplayedImage, str] | str]:
    """For each record the square image and the digest of its full-size pixels, or the reason why it can't be read."""
    if all(isinstance(record.image, np.ndarray) for record in records):  # nothing to decode: workers would only copy
        yield from (_decode_one(record, size) for record in records)
        return
    with worker_pool(workers) as pool:
        # in parts: decoded images stay in memory until they are consumed
        for start in range(0, len(records), _AT_ONCE):
            taken = records[start : start + _AT_ONCE]
            yield from pool.map(_decode_one, taken, [size] * len(taken), chunksize=_CHUNK)


def _decode_one(record: Record, size: int) -> tuple[DisplayedImage, str] | str:
    image = record.image
    try:
        displayed = (
            read_image(image, record.display, record.frame) if isinstance(image, Path) else DisplayedImage(image)
        )
        return replace(displayed, grey=to_square(displayed.grey, size)), image_digest(displayed.grey)
    except UnreadableImageError as error:
        return str(error)
