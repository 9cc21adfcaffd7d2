"""Localization: whether a map's maximum and its energy lie inside the lesion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.evaluation.outcomes import Floats
from medscreen.explain.packaged_map import Maps, is_constant

Masks = NDArray[np.bool_]
"""(N, S, S): True inside the lesion."""
_BLOB_WIDTH = 0.25  # standard deviation of the center blob, in sides of the image


@dataclass(frozen=True)
class Localization:
    """Of each of N images: `hits`, whether the map's maximum lies inside the lesion, and the share of `energy` inside.

    The pointing game of Zhang et al. 2018 (doi 10.1007/s11263-017-1059-x), without a tolerance around the lesion, and
    the energy-based one of Wang et al. 2020 (Score-CAM, arXiv 1910.01279).
    """

    hits: Floats
    energy: Floats


def localize(maps: Maps, masks: Masks) -> Localization:
    """Maps (N, S, S), 0 and above, against masks; a constant map neither hits nor has energy inside."""
    flat, inside = maps.reshape(len(maps), -1).astype(np.float64), masks.reshape(len(masks), -1)
    pointing = ~is_constant(maps)
    flat = np.where(pointing[:, None], flat, 0)
    hits = inside[np.arange(len(flat)), flat.argmax(1)] & pointing
    total = flat.sum(1)
    energy = (flat * inside).sum(1) / np.where(total > 0, total, 1)
    return Localization(hits.astype(np.float64), energy)


def by_chance(masks: Masks) -> Localization:
    """Expected value of a random place and of a constant map: the lesion's share of the image."""
    share = masks.mean((1, 2))
    return Localization(share, share)


def center_blob(number: int, size: int) -> Maps:
    """Maps without a detector: a Gaussian at the center, where images tend to show what matters."""
    axis = (np.arange(size) - (size - 1) / 2) / (_BLOB_WIDTH * size)
    line = np.exp(-(axis**2) / 2).astype(np.float32)
    return np.broadcast_to(np.outer(line, line), (number, size, size))
