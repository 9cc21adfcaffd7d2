"""Near duplicates: one image with other gray values, at another size, compressed again, mirrored or rotated.

A perceptual hash proposes pairs, and the correlation of the pixels confirms them: chest films are so similar that the
hash alone matches different patients.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.data.images import Pixels, forget, in_chunks, new_array
from medscreen.runtime.child_processes import worker_pool

# Chosen on train and val of real films and on the phantom: benchmarks/near_duplicates.py
HASH_DISTANCE = 8
CORRELATION = 0.97

_POSES = 8
_SIDE = 32  # pixels; side of the reduced image for hash and texture
_ROWS, _COLUMNS = 512, 2048  # hashes compared at once, to fit the processor's cache
_PAIRS_AT_ONCE = 512  # pairs whose textures are in memory at a time
_DENSE = 0.005  # share of a block's pairs above which all are compared: one matrix product is faster then

Hashes = NDArray[np.uint64]
"""(N, 8): 64-bit hashes of each image, as stored and in the seven other poses."""
Textures = NDArray[np.float16]
"""(N, 1024): each image at 32 x 32 minus its local mean, normalized to length 1."""


class Pair(NamedTuple):
    """Near duplicates: positions `first` < `second`, and the correlation of their textures (at most 1)."""

    first: int
    second: int
    correlation: float


def near_duplicate_pairs(pixels: Pixels, among: NDArray[np.int64], workers: int, scratch: Path) -> list[Pair]:
    """All pairs of near duplicates among the images at the positions `among` (ascending), highest correlation first.

    `scratch`: temporary file for the textures, 2 KiB per image. The time grows with the square of the number of images:
    see docs/performance.md.
    """
    if len(among) == 0:
        return []
    textures: Textures = new_array(scratch, np.float16, (len(among), _SIDE * _SIDE))
    best: dict[tuple[int, int], float] = {}
    try:
        for first, second, correlation in _pairs(_describe(pixels, among, textures, workers), textures):
            best[first, second] = max(correlation, best.get((first, second), 0.0))
    finally:
        del textures
        scratch.unlink(missing_ok=True)
    pairs = (Pair(int(among[first]), int(among[second]), alike) for (first, second), alike in best.items())
    return sorted(pairs, key=lambda pair: (-pair.correlation, pair))


def _describe(pixels: Pixels, among: NDArray[np.int64], textures: Textures, workers: int) -> Hashes:
    hashes = np.zeros((len(among), _POSES), np.uint64)
    chunks = in_chunks(pixels, among)
    at = 0
    with worker_pool(workers) if workers > 1 else nullcontext() as pool:
        # a few chunks at a time: map would first read all images into memory
        while taken := list(islice(chunks, 2 * workers)):
            for of_chunk, texture in (pool.map if pool else map)(described_images, taken):
                hashes[at : at + len(of_chunk)], textures[at : at + len(of_chunk)] = of_chunk, texture
                at += len(of_chunk)
            forget(textures)
    return hashes


def described_images(pixels: Pixels) -> tuple[Hashes, Textures]:
    """Hashes and textures of square images."""
    from imagehash import phash
    from scipy.ndimage import uniform_filter

    hashes = np.zeros((len(pixels), _POSES), np.uint64)
    textures = np.zeros((len(pixels), _SIDE * _SIDE), np.float16)
    for i, image in enumerate(pixels):
        # a symmetric filter, which BOX is not: reducing a rotated copy has to give the rotated reduced image
        small = np.asarray(Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
        for pose in range(_POSES):
            bits = phash(Image.fromarray(_posed(small, pose))).hash
            hashes[i, pose] = np.packbits(bits).view(np.uint64)[0]
        texture = small.astype(np.float32) - uniform_filter(small.astype(np.float32), 5)
        texture -= texture.mean()
        textures[i] = (texture / max(float(np.linalg.norm(texture)), 1e-6)).ravel()
    return hashes, textures


def _posed(image: NDArray[np.integer[Any]], pose: int) -> NDArray[np.integer[Any]]:
    return np.ascontiguousarray(np.rot90(image if pose < 4 else image.T, pose % 4))


def _pairs(hashes: Hashes, textures: Textures) -> Iterator[tuple[int, int, float]]:
    """First, second and correlation of each pair, possibly in several poses; by blocks of the upper triangle."""
    upright = np.ascontiguousarray(hashes[:, 0])
    for row in range(0, len(hashes), _ROWS):
        for column in range(row, len(hashes), _COLUMNS):
            columns = slice(column, column + _COLUMNS)
            for pose in range(_POSES):
                distance = np.bitwise_count(hashes[row : row + _ROWS, pose, None] ^ upright[None, columns])
                at, other = np.nonzero(distance <= HASH_DISTANCE)
                ordered = at + row < other + column
                at, other = at[ordered], other[ordered]
                if len(at):
                    alike = _correlations(textures[row : row + _ROWS], textures[columns], at, other, pose)
                    for i in np.flatnonzero(alike >= CORRELATION):
                        yield int(at[i]) + row, int(other[i]) + column, round(float(alike[i]), 4)
            forget(textures)


def _correlations(
    first: Textures, second: Textures, at: NDArray[np.int64], other: NDArray[np.int64], pose: int
) -> NDArray[np.float32]:
    """Correlations of the textures `first[at]`, in this pose, with `second[other]`."""
    turned = _posed(np.arange(_SIDE * _SIDE).reshape(_SIDE, _SIDE), pose).ravel()
    if len(at) > _DENSE * len(first) * len(second):
        every: NDArray[np.float32] = first.astype(np.float32)[:, turned] @ second.astype(np.float32).T
        return every[at, other]
    alike = np.empty(len(at), np.float32)
    for start in range(0, len(at), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        one, two = first[at[some]].astype(np.float32)[:, turned], second[other[some]].astype(np.float32)
        alike[some] = np.einsum("ij,ij->i", one, two)
    return alike
