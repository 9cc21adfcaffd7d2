"""Maps brought to another grid of places."""

import torch
from torch import Tensor


def region_weights(side: int, number: int) -> Tensor:
    """(number, side): what each pixel of a row adds to each of `number` regions along it; every row sums to 1.

    A region is a triangle that reaches to the centres of its neighbours, so that a pixel between two counts for both
    and a small shift changes little. More regions than pixels are interpolated linearly.
    """
    pixels = torch.arange(side) + 0.5
    centres = (torch.arange(number) + 0.5) * (side / number)
    weights = (1 - (pixels - centres.unsqueeze(1)).abs() / max(side / number, 1.0)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def in_regions(maps: Tensor, number: int) -> Tensor:
    """(N, C, h, w) -> (N, C, number, number): weighted means over regions, as `region_weights` has them."""
    down, across = (region_weights(side, number).to(maps) for side in maps.shape[2:])
    return down @ maps @ across.T
