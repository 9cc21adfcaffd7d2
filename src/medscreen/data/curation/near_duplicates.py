"""Near copies: one image under other grey values, at another size, compressed again, mirrored or turned.

A perceptual hash proposes pairs, the pixels confirm them: chest films are so alike that a hash alone takes strangers
for copies.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.data.images import Pixels, forget, in_chunks, new_array
from medscreen.runtime.child_processes import worker_pool

# Chosen on train and val of real films and on the phantom: benchmarks/near_copies.py
HASH_DISTANCE = 8
CORRELATION = 0.97

_POSES = 8
_SIDE = 32  # pixels of the small image that hash and texture are made of
_ROWS, _COLUMNS = 512, 2048  # hashes that are compared at once: what fits a processor's cache
_PAIRS_AT_ONCE = 512  # whose textures lie in memory
_DENSE = 0.005  # share of a block above which all of its images are compared: one product is faster then

Hashes = NDArray[np.uint64]
"""(N, 8): 64 bits of each image, as it lies and in the seven other poses."""
Textures = NDArray[np.float16]
"""(N, 1024): each image at 32 x 32 less its local mean, of length 1."""


@dataclass(frozen=True)
class Pairs:
    """Near copies, the most alike first: positions `first` < `second`, and how far their textures correlate (to 1)."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    correlation: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)

    def positions(self) -> list[tuple[int, int]]:
        """First and second of each pair."""
        return list(zip(self.first.tolist(), self.second.tolist(), strict=True))


def near_pairs(pixels: Pixels, among: NDArray[np.int64], workers: int, scratch: Path) -> Pairs:
    """All pairs of near copies among the images at the positions `among` (ascending).

    `scratch` is a file for what is compared, 2 KiB an image. The time grows with the square of the number:
    docs/performance.md has it.
    """
    if len(among) == 0:
        none = np.zeros(0, np.int64)
        return Pairs(none, none, np.zeros(0))
    textures: Textures = new_array(scratch, np.float16, (len(among), _SIDE * _SIDE))
    try:
        found = list(_pairs(_describe(pixels, among, textures, workers), textures))
    finally:
        del textures
        scratch.unlink(missing_ok=True)
    best: dict[tuple[int, int], float] = {}
    for first, second, correlation in found:
        best[first, second] = max(correlation, best.get((first, second), 0.0))
    ranked = sorted(best.items(), key=lambda item: (-item[1], item[0]))
    positions = np.array([pair for pair, _ in ranked], dtype=np.int64).reshape(-1, 2)
    return Pairs(among[positions[:, 0]], among[positions[:, 1]], np.array([likeness for _, likeness in ranked]))


def _describe(pixels: Pixels, among: NDArray[np.int64], textures: Textures, workers: int) -> Hashes:
    hashes = np.zeros((len(among), _POSES), np.uint64)
    chunks = in_chunks(pixels, among)
    at = 0
    with worker_pool(workers) if workers > 1 else nullcontext() as pool:
        # a few chunks at a time: map would take all images into memory before the first is done
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
        # a filter that treats left and right alike, as BOX does not: a turned copy has to become the turned small image
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
    """First, second and correlation of each pair, maybe in several poses; a block of the triangle at a time."""
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
    """How far the textures `first[at]`, turned into the pose, and `second[other]` correlate."""
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
