"""Positions of a feature map in the image, and interpolation to pixels."""

from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Receptive-field centers along one side of a feature map, in pixels: the first center, and the step to the next.

    Plain resizing of a map assumes centers half a pixel further to the bottom right than those of a convolution with
    stride 2 and padding 1.
    """

    first: float
    step: float


def even_places(size: int, number: int) -> Places:
    """Centers of `number` equal parts of an image of `size` pixels, as of pooling without padding."""
    return Places(size / number / 2 - 0.5, size / number)


def interpolation(size: int, number: int, places: Places) -> Tensor:
    """Matrix (size, number) of linear interpolation from positions to pixels, constant beyond the ends.

    `rows @ map @ columns.T` interpolates a map (h, w) to an image.
    """
    position = ((torch.arange(size) - places.first) / places.step).clamp(0, number - 1)
    weights: Tensor = (1 - (position.unsqueeze(1) - torch.arange(number)).abs()).clamp(min=0)
    return weights
