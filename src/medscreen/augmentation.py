"""Whole-batch augmentation of float images; random numbers come from torch's global generator."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment_films(images: Tensor) -> Tensor:
    """Films as they might also have been taken: another pose, mirrored, another exposure.

    images: (N, 1, H, W) in 0..1; the result has the same shape and range. Rotation within 10 degrees, shift
    within 8 % of the side, scale within 10 %, left-right flip, gain within 15 %, gamma within 25 %.
    """
    number = len(images)

    def spread(width: float) -> Tensor:
        return (torch.rand(number, device=images.device) * 2 - 1) * width

    angle, scale = spread(math.radians(10)), 1 + spread(0.10)
    mirror = torch.where(torch.rand(number, device=images.device) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (
        torch.stack([cos * mirror, -sin, spread(0.16)], 1),
        torch.stack([sin * mirror, cos, spread(0.16)], 1),
    )
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    gain, gamma = 1 + spread(0.15), torch.exp(spread(0.25))
    exposed = moved.clamp(1e-4, 1.0) ** gamma.view(-1, 1, 1, 1) * gain.view(-1, 1, 1, 1)
    return exposed.clamp(0.0, 1.0)
