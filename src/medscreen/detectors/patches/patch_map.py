"""Patch map: distance of the features at each position from those of healthy images."""

from torch import Tensor, nn

from medscreen.detectors.patches.memory_bank import MemoryBank
from medscreen.detectors.patches.patch_gaussians import PlaceGaussians
from medscreen.detectors.shared.layers.places import even_places, interpolation


class PatchMap(nn.Module):
    """Distances behind the score at each position, minus their mean over the image; negative values are set to 0."""

    unit = "distance from healthy patches beyond the image's mean"
    weights: Tensor

    def __init__(self, scorer: nn.Sequential, size: int) -> None:
        super().__init__()
        *patches, distance = scorer
        self.patches = nn.Sequential(*patches)
        self.distance: PlaceGaussians | MemoryBank = distance  # type: ignore[assignment]
        self.grid = int(scorer[0].grid)  # type: ignore[arg-type]
        self.register_buffer("weights", interpolation(size, self.grid, even_places(size, self.grid)))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, S, S) in 0..1 -> maps (N, 1, S, S)."""
        distances = self.distance.distances(self.patches(images))
        excess = (distances - distances.mean(1, keepdim=True)).clamp(min=0)
        placed: Tensor = self.weights @ excess.view(-1, 1, self.grid, self.grid) @ self.weights.T
        return placed
