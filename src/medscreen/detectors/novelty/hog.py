"""Histograms of oriented gradients."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.regions import in_regions
from medscreen.detectors.shared.layers.standardization import standardised

_CLIP = 0.2
_FAINTEST = 0.01


class OrientedGradients(nn.Module):
    """Histograms of the directions of gradients in `cells` x `cells` cells, normalised in overlapping blocks.

    Dalal, Triggs 2005 (doi 10.1109/CVPR.2005.177): central differences; a pixel is weighted by its gradient's length,
    shared out between the nearest bins and the nearest cells; blocks of `block` x `block` cells, one cell apart, in
    clipped L2 norm. `signed`: directions over 360 degrees, dark to bright, instead of 180. `width`: how many numbers an
    image becomes, (cells - block + 1)^2 x block^2 x bins.
    """

    def __init__(self, cells: int, bins: int, block: int, signed: bool) -> None:
        super().__init__()
        self.cells, self.bins, self.block = cells, bins, block
        self.turn = 2 * math.pi if signed else math.pi
        self.width = (cells - block + 1) ** 2 * block**2 * bins

    def orientation_weights(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, bins, S, S): a pixel's gradient, shared out between two bins."""
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        length = (down**2 + across**2).sqrt()
        # a hair beside 0, where no gradient has a direction and the exported graph must agree
        place = torch.remainder(torch.atan2(down, across + 1e-12), self.turn) * (self.bins / self.turn) - 0.5
        bins = torch.arange(self.bins).to(images).view(1, -1, 1, 1)
        apart = (place - bins).abs()
        apart = torch.minimum(apart, self.bins - apart)
        return length * (1 - apart).clamp(min=0)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, width), block by block, rows first; in a block bin by bin."""
        cells = in_regions(self.orientation_weights(standardised(images)), self.cells)
        blocks = cells.unfold(2, self.block, 1).unfold(3, self.block, 1)  # (N, bins, down, across, block, block)
        found = blocks.permute(0, 2, 3, 1, 4, 5).flatten(3)
        clipped = _unit(found).clamp(max=_CLIP)
        return _unit(clipped).flatten(1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.square().sum(-1, keepdim=True) + _FAINTEST**2).sqrt()
