"""Resampling of feature maps to another grid."""

import torch
from torch import Tensor


def region_weights(side: int, number: int) -> Tensor:
    """Matrix (number, side) of triangular weights of pixels in `number` regions along an axis; every row sums to 1.

    A region reaches to the centers of its neighbors, so that small shifts change the result little. More regions than
    pixels are interpolated linearly.
    """
    pixels = torch.arange(side) + 0.5
    centers = (torch.arange(number) + 0.5) * (side / number)
    weights = (1 - (pixels - centers.unsqueeze(1)).abs() / max(side / number, 1.0)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def in_regions(maps: Tensor, number: int) -> Tensor:
    """(N, C, h, w) -> (N, C, number, number): means over regions with `region_weights`."""
    down, across = (region_weights(side, number).to(maps) for side in maps.shape[2:])
    return down @ maps @ across.T
