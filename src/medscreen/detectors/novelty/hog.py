"""Histograms of oriented gradients (HOG)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.regions import in_regions
from medscreen.detectors.shared.layers.standardization import standardized

_CLIP = 0.2
_FAINTEST = 0.01


class OrientedGradients(nn.Module):
    """Histograms of gradient orientations in `cells` x `cells` cells, normalized over overlapping blocks.

    Dalal, Triggs 2005 (doi 10.1109/CVPR.2005.177): central differences; pixels weighted by gradient magnitude and
    interpolated between neighboring bins and cells; blocks of `block` x `block` cells, with a stride of one cell and
    clipped L2 normalization. `signed`: orientations over 360 degrees instead of 180. `width`: number of features,
    (cells - block + 1)^2 x block^2 x bins.
    """

    def __init__(self, cells: int, bins: int, block: int, signed: bool) -> None:
        super().__init__()
        self.cells, self.bins, self.block = cells, bins, block
        self.turn = 2 * math.pi if signed else math.pi
        self.width = (cells - block + 1) ** 2 * block**2 * bins

    def orientation_weights(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, bins, S, S): gradient magnitudes, interpolated between two orientation bins."""
        padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
        down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
        across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
        length = (down**2 + across**2).sqrt()
        # + 1e-12: atan2(0, 0) may differ between torch and ONNX Runtime
        place = torch.remainder(torch.atan2(down, across + 1e-12), self.turn) * (self.bins / self.turn) - 0.5
        bins = torch.arange(self.bins).to(images).view(1, -1, 1, 1)
        apart = (place - bins).abs()
        apart = torch.minimum(apart, self.bins - apart)
        return length * (1 - apart).clamp(min=0)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, width): block by block, row by row; within a block bin by bin."""
        cells = in_regions(self.orientation_weights(standardized(images)), self.cells)
        blocks = cells.unfold(2, self.block, 1).unfold(3, self.block, 1)  # (N, bins, down, across, block, block)
        found = blocks.permute(0, 2, 3, 1, 4, 5).flatten(3)
        clipped = _unit(found).clamp(max=_CLIP)
        return _unit(clipped).flatten(1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors.square().sum(-1, keepdim=True) + _FAINTEST**2).sqrt()
