"""Laplacian pyramid energies by level and region."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.regions import in_regions
from medscreen.detectors.shared.layers.standardization import standardized

FAINTEST = 1e-4
"""Added to the detail before the logarithm, in standard deviations of the image."""


def blurred(images: Tensor) -> Tensor:
    """Blurs images (N, 1, H, W) with the binomial kernel 1 4 6 4 1 and replicate padding; same shape."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]).to(images) / 16
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 5, 1)), kernel.view(1, 1, 1, 5))


class PyramidEnergies(nn.Module):
    """Log mean absolute detail at each level of a Laplacian pyramid, in `grid` x `grid` regions.

    Anderson's filter-subtract-decimate form of the Laplacian pyramid (Burt, Adelson 1983, doi
    10.1109/TCOM.1983.1095851), of the standardized image. A level has at most as many regions as pixels a side.
    `width`: number of features, at most levels x grid x grid.
    """

    def __init__(self, size: int, levels: int, grid: int) -> None:
        super().__init__()
        sides = [-(-size // 2**level) for level in range(levels)]
        self.grids = [min(grid, side) for side in sides]
        self.width = sum(number**2 for number in self.grids)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, width): level by level, row by row."""
        rest, energies = standardized(images), []
        for number in self.grids:
            smooth = blurred(rest)
            detail = in_regions((rest - smooth).abs(), number)
            energies.append(torch.log(detail + FAINTEST).flatten(1))
            rest = smooth[:, :, ::2, ::2]
        return torch.cat(energies, 1)
