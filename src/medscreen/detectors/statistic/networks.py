"""Image statistics, and their distance from the median of healthy images."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

StatisticName = Literal["intensity", "gradient", "energy", "entropy"]

_LEVELS = 256


def mean_intensity(images: Tensor) -> Tensor:
    """(N, 1, S, S) -> (N,): mean gray value."""
    return images.mean((1, 2, 3))


def mean_gradient(images: Tensor) -> Tensor:
    """(N, 1, S, S) -> (N,): mean absolute difference of neighboring pixels, both directions added."""
    down, across = _differences(images)
    return down.abs().mean((1, 2, 3)) + across.abs().mean((1, 2, 3))


def gradient_energy(images: Tensor) -> Tensor:
    """(N, 1, S, S) -> (N,): mean squared difference of neighboring pixels, both directions added."""
    down, across = _differences(images)
    return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))


def gray_entropy(images: Tensor) -> Tensor:
    """(N, 1, S, S) in 0..1 -> (N,): Shannon entropy of the gray-level histogram, 0 to 8 bits.

    The bins are the 256 levels k / 255; each pixel counts for the nearest level.
    """
    levels = (images.flatten(1).clamp(0, 1) * (_LEVELS - 1)).round().long()
    counts = images.new_zeros(images.shape[0], _LEVELS).scatter_add(1, levels, torch.ones_like(images.flatten(1)))
    shares = counts / levels.shape[1]
    return -(shares * torch.log2(torch.where(shares > 0, shares, 1.0))).sum(1)


STATISTICS: Mapping[StatisticName, Callable[[Tensor], Tensor]] = {
    "intensity": mean_intensity,
    "gradient": mean_gradient,
    "energy": gradient_energy,
    "entropy": gray_entropy,
}


class HealthyDistance(nn.Module):
    """Absolute difference of an image's statistic from the median of healthy images."""

    healthy_median: Tensor

    def __init__(self, statistic: StatisticName) -> None:
        super().__init__()
        self.statistic = STATISTICS[statistic]
        self.register_buffer("healthy_median", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> scores (N,)."""
        return (self.statistic(images) - self.healthy_median).abs()


def _differences(images: Tensor) -> tuple[Tensor, Tensor]:
    return images[:, :, 1:] - images[:, :, :-1], images[:, :, :, 1:] - images[:, :, :, :-1]
