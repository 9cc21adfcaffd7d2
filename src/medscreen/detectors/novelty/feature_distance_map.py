"""Place map of a novelty detector: what each place adds to the squared distance from healthy images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.novelty.hog import OrientedGradients
from medscreen.detectors.novelty.laplacian_pyramid import PyramidEnergies
from medscreen.detectors.shared.layers.distances import MahalanobisDistance, NeighbourDistance
from medscreen.detectors.shared.layers.places import even_places, interpolation


class FeatureDistanceMap(nn.Module):
    """The squared distance, divided among the features by their terms in its sum, at the places of the features.

    A Mahalanobis distance z'Pz has the term z_i (Pz)_i for feature i, which may be below 0; what is below 0 at a place
    after its features are added up is cut off. Of a distance from neighbours, the mean over them is taken.
    """

    unit = "share of the squared distance from healthy images"

    def __init__(self, scorer: nn.Sequential, size: int) -> None:
        super().__init__()
        self.features: OrientedGradients | PyramidEnergies = scorer[0]  # type: ignore[assignment]
        self.distance: MahalanobisDistance | NeighbourDistance = scorer[1]  # type: ignore[assignment]
        grids = [self.features.cells] if isinstance(self.features, OrientedGradients) else self.features.grids
        for grid in sorted(set(grids)):
            self.register_buffer(f"weights_{grid}", interpolation(size, grid, even_places(size, grid)))

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) in 0..1 -> (N, 1, S, S)."""
        terms = self.distance.terms(self.features(images))
        placed = []
        for grid in self._grids(terms):
            weights: Tensor = getattr(self, f"weights_{grid.shape[-1]}")
            placed.append(weights @ grid @ weights.T)
        total: Tensor = sum(placed[1:], placed[0])
        return total.clamp(min=0)

    def _grids(self, terms: Tensor) -> list[Tensor]:
        """(N, width) -> sums over the features of each place, (N, 1, g, g) for each grid."""
        match self.features:
            case OrientedGradients() as hog:
                blocks, block = hog.cells - hog.block + 1, hog.block
                cells = terms.view(-1, blocks, blocks, hog.bins, block, block).sum(3)
                # a cell is in several blocks
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
