"""Augmentation of batches of float images with torch's global random generator."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment_films(images: Tensor, pose: float = 1.0, exposure: float = 1.0, grain: float = 0.0) -> Tensor:
    """Random augmentation of radiographs: pose, exposure, and sharpness and noise.

    images: (N, 1, H, W) in 0..1; the result has the same shape and range. Each strength scales the limits of its part;
    0 turns the part off. `pose`: rotation within 10 degrees, shift within 8 % of the side, scale within 10 %,
    left-right flip (at any strength). `exposure`: gain within 15 %, bias within .05, gamma within 25 %. `grain`: blend
    with up to 100 % of the image blurred by [1 2 1]/4 in both directions, then Gaussian noise with a standard deviation
    within .03.
    """
    if pose:
        images = _posed(images, pose, mirrored=True)
    if exposure:
        images = _exposed(images, exposure)
    if grain:
        images = _grained(images, grain)
    return images


def pose_films(images: Tensor, strength: float) -> Tensor:
    """Random rotation, shift and scale as `pose` of `augment_films`, without flips.

    With flips, a one-class detector would learn a heart on the right as healthy.
    """
    return _posed(images, strength, mirrored=False) if strength else images


def _spread(images: Tensor, width: float) -> Tensor:
    """(N, 1, 1, 1): uniform random number in -width..width for each image."""
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
