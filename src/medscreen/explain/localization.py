"""Localization metrics of maps against lesion masks: pointing game and energy inside."""

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
    """Localization of N images: `hits`, 1 if the map's maximum is inside the lesion; `energy`, its share inside.

    Pointing game of Zhang et al. 2018 (doi 10.1007/s11263-017-1059-x), without a tolerance around the lesion, and
    energy-based pointing game of Wang et al. 2020 (Score-CAM, arXiv 1910.01279).
    """

    hits: Floats
    energy: Floats


def localize(maps: Maps, masks: Masks) -> Localization:
    """Compares maps (N, S, S), 0 and above, with masks; a constant map has no hit and no energy inside."""
    flat, inside = maps.reshape(len(maps), -1).astype(np.float64), masks.reshape(len(masks), -1)
    pointing = ~is_constant(maps)
    flat = np.where(pointing[:, None], flat, 0)
    hits = inside[np.arange(len(flat)), flat.argmax(1)] & pointing
    total = flat.sum(1)
    energy = (flat * inside).sum(1) / np.where(total > 0, total, 1)
    return Localization(hits.astype(np.float64), energy)


def by_chance(masks: Masks) -> Localization:
    """Expected values of a random pixel and of uniform energy: the lesion's share of the image."""
    share = masks.mean((1, 2))
    return Localization(share, share)


def center_blob(number: int, size: int) -> Maps:
    """Reference maps without a detector: a Gaussian at the center (center bias of lesions)."""
    axis = (np.arange(size) - (size - 1) / 2) / (_BLOB_WIDTH * size)
    line = np.exp(-(axis**2) / 2).astype(np.float32)
    return np.broadcast_to(np.outer(line, line), (number, size, size))
