"""Contact sheets: some images of each split and class, and the near copies side by side, as PNG files."""

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from medscreen.data.curation.near_duplicates import Pair
from medscreen.data.images import ImageSet, Pixels, forget, in_chunks

CLASSES = ("normal", "abnormal")
_TILE, _GAP, _BETWEEN = 96, 4, 16  # pixels
_COLUMNS, _IMAGES = 8, 24
_PAIRS_A_ROW, PAIRS = 4, 24
_GROUND = 128  # neither a light page's nor a dark one's


def contact_sheets(splits: Mapping[str, ImageSet]) -> Iterator[tuple[str, bytes]]:
    """A name, "train-normal", and a sheet of up to 24 images, evenly spread over the split, of each split and class."""
    for name, images in splits.items():
        for label, word in enumerate(CLASSES):
            positions = np.flatnonzero(images.labels == label)
            spread = np.linspace(0, len(positions) - 1, min(_IMAGES, len(positions))).round().astype(np.int64)
            yield f"{name}-{word}", _sheet(np.concatenate([*in_chunks(images.pixels, positions[spread])]))


def pair_sheet(pixels: Pixels, pairs: Sequence[Pair]) -> bytes:
    """The first 24 pairs of near copies, numbered from 1 as the report lists them, two images each."""
    number = min(len(pairs), PAIRS)
    rows = -(-number // _PAIRS_A_ROW)
    wide = 2 * _TILE + _GAP + _BETWEEN
    sheet = Image.new("L", (min(number, _PAIRS_A_ROW) * wide - _BETWEEN, rows * (_TILE + _BETWEEN) - _BETWEEN), _GROUND)
    for i, pair in enumerate(pairs[:number]):
        left, top = i % _PAIRS_A_ROW * wide, i // _PAIRS_A_ROW * (_TILE + _BETWEEN)
        for position, at in ((pair.first, left), (pair.second, left + _TILE + _GAP)):
            sheet.paste(_tile(pixels[position]), (at, top))
        forget(pixels)  # the system maps far more than the two images
        ImageDraw.Draw(sheet).text((left + 3, top + 2), str(i + 1), fill=255, stroke_width=1, stroke_fill=0)
    return _png(sheet)


def _sheet(images: Pixels) -> bytes:
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // _COLUMNS)
    sheet = Image.new("L", (columns * (_TILE + _GAP) - _GAP, rows * (_TILE + _GAP) - _GAP), _GROUND)
    for i, image in enumerate(images):
        sheet.paste(_tile(image), (i % _COLUMNS * (_TILE + _GAP), i // _COLUMNS * (_TILE + _GAP)))
    return _png(sheet)


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.asarray(image)).resize((_TILE, _TILE), Image.Resampling.BICUBIC)


def _png(sheet: Image.Image) -> bytes:
    file = BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
