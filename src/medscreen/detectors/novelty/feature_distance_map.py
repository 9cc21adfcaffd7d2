"""Place map of a novelty detector: contribution of each position to the squared distance from healthy images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.novelty.hog import OrientedGradients
from medscreen.detectors.novelty.laplacian_pyramid import PyramidEnergies
from medscreen.detectors.shared.layers.distances import MahalanobisDistance, NeighborDistance
from medscreen.detectors.shared.layers.places import even_places, interpolation


class FeatureDistanceMap(nn.Module):
    """Squared distance split into one term per feature, each drawn at the position of its feature.

    A Mahalanobis distance z'Pz has the term z_i (Pz)_i for feature i, which may be negative; negative sums at a
    position are set to 0. The distance from nearest neighbors is averaged over the neighbors.
    """

    unit = "share of the squared distance from healthy images"

    def __init__(self, scorer: nn.Sequential, size: int) -> None:
        super().__init__()
        self.features: OrientedGradients | PyramidEnergies = scorer[0]  # type: ignore[assignment]
        self.distance: MahalanobisDistance | NeighborDistance = scorer[1]  # type: ignore[assignment]
        grids = [self.features.cells] if isinstance(self.features, OrientedGradients) else self.features.grids
        for grid in sorted(set(grids)):
            self.register_buffer(f"weights_{grid}", interpolation(size, grid, even_places(size, grid)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, S, S) in 0..1 -> maps (N, 1, S, S)."""
        terms = self.distance.terms(self.features(images))
        placed = []
        for grid in self._grids(terms):
            weights: Tensor = getattr(self, f"weights_{grid.shape[-1]}")
            placed.append(weights @ grid @ weights.T)
        total: Tensor = sum(placed[1:], placed[0])
        return total.clamp(min=0)

    def _grids(self, terms: Tensor) -> list[Tensor]:
        """(N, width) -> sums over the features of each position, (N, 1, g, g) for each grid."""
        match self.features:
            case OrientedGradients() as hog:
                blocks, block = hog.cells - hog.block + 1, hog.block
                cells = terms.view(-1, blocks, blocks, hog.bins, block, block).sum(3)
                # blocks overlap: add up the terms of a cell over all its blocks
                placed = [
                    F.pad(cells[:, :, :, down, across], (across, block - 1 - across, down, block - 1 - down))
                    for down in range(block)
                    for across in range(block)
                ]
                return [sum(placed[1:], placed[0]).unsqueeze(1)]
            case PyramidEnergies() as pyramid:
                widths = [grid**2 for grid in pyramid.grids]
                parts = torch.split(terms, widths, 1)
                return [part.view(-1, 1, grid, grid) for part, grid in zip(parts, pyramid.grids, strict=True)]
