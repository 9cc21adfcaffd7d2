"""Contact sheets as PNG: sample images of each split and class, and pairs of near duplicates."""

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
_BACKGROUND = 128  # visible on light and dark pages


def contact_sheets(splits: Mapping[str, ImageSet]) -> Iterator[tuple[str, bytes]]:
    """Yields name ("train-normal") and PNG per split and class: up to 24 images, evenly spaced in the split."""
    for name, images in splits.items():
        for label, word in enumerate(CLASSES):
            positions = np.flatnonzero(images.labels == label)
            spread = np.linspace(0, len(positions) - 1, min(_IMAGES, len(positions))).round().astype(np.int64)
            tiles = [_tile(image) for chunk in in_chunks(images.pixels, positions[spread]) for image in chunk]
            yield f"{name}-{word}", _png(_grid(tiles, _COLUMNS, _GAP))


def pair_sheet(pixels: Pixels, pairs: Sequence[Pair]) -> bytes:
    """PNG of the first 24 pairs of near duplicates, numbered from 1 as in the report."""
    tiles = []
    for number, pair in enumerate(pairs[:PAIRS], 1):
        tile = _grid([_tile(pixels[position]) for position in (pair.first, pair.second)], 2, _GAP)
        forget(pixels)  # releases memory-mapped pages beyond the two images
        ImageDraw.Draw(tile).text((3, 2), str(number), fill=255, stroke_width=1, stroke_fill=0)
        tiles.append(tile)
    return _png(_grid(tiles, _PAIRS_A_ROW, _BETWEEN))


def _grid(tiles: Sequence[Image.Image], columns: int, gap: int) -> Image.Image:
    """Arranges tiles of equal size in a grid with `columns` per row."""
    width, height = (side + gap for side in tiles[0].size)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("L", (min(columns, len(tiles)) * width - gap, rows * height - gap), _BACKGROUND)
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    return sheet


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.asarray(image)).resize((_TILE, _TILE), Image.Resampling.BICUBIC)


def _png(sheet: Image.Image) -> bytes:
    file = BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
