"""Places of a feature map in the image."""

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Receptive-field centers along one side of a feature map, in pixels: the first center, and the step to the next.

    Resizing a map assumes centers half a pixel further to the bottom right than a stride of 2 with padding 1 has.
    """

    first: float
    step: float


def even_places(size: int, number: int) -> Places:
    """`number` places that divide an image of `size` pixels evenly, as pooling without padding does."""
    return Places(size / number / 2 - 0.5, size / number)


def interpolation(size: int, number: int, places: Places) -> Tensor:
    """(size, number): linear interpolation from places to pixels, constant beyond the ends.

    A map (h, w) becomes an image by `rows @ map @ columns.T`.
    """
    position = ((torch.arange(size) - places.first) / places.step).clamp(0, number - 1)
    weights: Tensor = (1 - (position.unsqueeze(1) - torch.arange(number)).abs()).clamp(min=0)
    return weights
