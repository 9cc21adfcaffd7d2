"""Memory bank of healthy patches (PatchCore)."""

import torch
from torch import Tensor

from medscreen.detectors.shared.layers.distances import squared_distances
from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers
from medscreen.detectors.shared.layers.pooling import mean_of_top

_CHUNK = 512
"""Patches of the bank compared at once; N x positions x _CHUNK distances are in memory."""


class MemoryBank(DynamicBuffers):
    """Mean of the largest distances of an image's patches from their nearest neighbors in the bank.

    Roth et al. 2021 (PatchCore, arXiv 2106.08265) take the maximum alone. `top`: fraction of positions in the mean, at
    least one position. `bank` (M, width), M at most `most`.
    """

    bank: Tensor

    def __init__(self, most: int, width: int, top: float) -> None:
        super().__init__()
        self.top = top
        self.register_buffer("bank", torch.zeros(most, width))

    def learn(self, bank: Tensor) -> None:
        """Stores patches (M, width) as the bank."""
        self.bank = bank.clone()

    def nearest(self, patches: Tensor) -> Tensor:
        """(K, width) -> (K,): index of each patch's nearest neighbor in the bank."""
        least = torch.full_like(patches[:, 0], torch.inf)
        index = torch.zeros_like(patches[:, 0], dtype=torch.int64)
        for start in range(0, len(self.bank), _CHUNK):
            found = squared_distances(patches, self.bank[start : start + _CHUNK]).min(1)
            closer = found.values < least
            least = torch.where(closer, found.values, least)
            index = torch.where(closer, found.indices + start, index)
        return index

    def distances(self, patches: Tensor) -> Tensor:
        """(N, positions, width) -> distances (N, positions)."""
        index = self.nearest(patches.flatten(0, 1)).view(patches.shape[:2])
        # a matrix product finds the nearest fast but loses digits; the distance is taken from the difference
        distances: Tensor = torch.linalg.vector_norm(patches - self.bank[index], dim=2)
        return distances

    def forward(self, patches: Tensor) -> Tensor:
        """(N, positions, width) -> scores (N,)."""
        return mean_of_top(self.distances(patches), self.top)
