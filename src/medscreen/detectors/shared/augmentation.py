"""Whole-batch augmentation of float images; random numbers come from torch's global generator."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment_films(images: Tensor, pose: float = 1.0, exposure: float = 1.0, grain: float = 0.0) -> Tensor:
    """Films as they might also have been taken: another pose, mirrored, another exposure, another detector.

    images: (N, 1, H, W) in 0..1; the result has the same shape and range. Each strength multiplies its limits, 0 leaves
    its part out. `pose`: rotation within 10 degrees, shift within 8 % of the side, scale within 10 %, left-right flip
    (at any strength). `exposure`: gain within 15 %, bias within .05, gamma within 25 %. `grain`: a share within 1 of
    the image seen through a [1 2 1]/4 blur along both sides, then noise of a standard deviation within .03.
    """
    if pose:
        images = _posed(images, pose, mirrored=True)
    if exposure:
        images = _exposed(images, exposure)
    if grain:
        images = _grained(images, grain)
    return images


def pose_films(images: Tensor, strength: float) -> Tensor:
    """The same films with the body placed otherwise: what `augment_films` calls pose, but never mirrored.

    Who learns what healthy looks like had to learn a heart on the right, too.
    """
    return _posed(images, strength, mirrored=False) if strength else images


def _spread(images: Tensor, width: float) -> Tensor:
    """(N, 1, 1, 1): a number within -width..width for each image."""
    return (torch.rand(len(images), 1, 1, 1, device=images.device) * 2 - 1) * width


def _posed(images: Tensor, strength: float, mirrored: bool) -> Tensor:
    angle, scale = _spread(images, math.radians(10) * strength), 1 + _spread(images, 0.10 * strength)
    mirror = torch.where(_spread(images, 1.0) < 0, -1.0, 1.0) if mirrored else torch.ones_like(scale)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = (
        torch.cat([cos * mirror, -sin, _spread(images, 0.16 * strength)], 3),
        torch.cat([sin * mirror, cos, _spread(images, 0.16 * strength)], 3),
    )
    grid = F.affine_grid(torch.cat(rows, 2).squeeze(1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _exposed(images: Tensor, strength: float) -> Tensor:
    gain, bias = 1 + _spread(images, 0.15 * strength), _spread(images, 0.05 * strength)
    gamma = torch.exp(_spread(images, 0.25 * strength))
    return (images.clamp(1e-4, 1.0) ** gamma * gain + bias).clamp(0.0, 1.0)


def _grained(images: Tensor, strength: float) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], device=images.device)
    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), torch.outer(line, line).view(1, 1, 3, 3))
    share = _spread(images, min(1.0, strength)).abs()
    noise = torch.randn_like(images) * _spread(images, 0.03 * strength)
    return (images + share * (blurred - images) + noise).clamp(0.0, 1.0)
