"""Patch features of an image from a backbone's feature maps."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.regions import in_regions
from medscreen.detectors.shared.layers.standardization import standardized


class Patches(nn.Module):
    """Feature maps of a backbone at `depths` (from 1), resized to `grid` x `grid` positions and concatenated.

    Images are standardized to mean .5 and standard deviation .25; stages beyond the deepest of `depths` are removed.
    Each map is first average-pooled over `neighborhood` x `neighborhood` (odd) pixels. `width`: channels of a
    position; `places`: number of positions.
    """

    def __init__(self, backbone: Backbone, depths: Sequence[int], grid: int, neighborhood: int) -> None:
        super().__init__()
        self.depths, self.grid, self.neighborhood = sorted(depths), grid, neighborhood
        self.width = sum(backbone.widths[depth - 1] for depth in self.depths)
        self.places = grid**2
        backbone.keep(self.depths[-1])
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, positions, width)."""
        maps = self.backbone.maps(0.5 + 0.25 * standardized(images), self.depths[-1])
        found = []
        for depth in self.depths:
            near = F.avg_pool2d(maps[depth - 1], self.neighborhood, 1, self.neighborhood // 2, count_include_pad=False)
            found.append(in_regions(near, self.grid))
        return torch.cat(found, 1).flatten(2).transpose(1, 2)


class Channels(nn.Module):
    """Selects the same channels at each position."""

    chosen: Tensor

    def __init__(self, chosen: Tensor) -> None:
        super().__init__()
        self.register_buffer("chosen", chosen)

    def forward(self, patches: Tensor) -> Tensor:
        """(N, positions, width) -> (N, positions, len(chosen))."""
        return patches[:, :, self.chosen]
