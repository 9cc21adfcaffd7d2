"""Healthy patches that stand for all of them."""

import torch
from torch import Tensor

from medscreen.detectors.networks.distances import squared_distances
from medscreen.detectors.networks.sized import Sized

_CHUNK = 512
"""Patches of the bank compared at once: N x places x _CHUNK numbers are in memory."""


class PatchBank(Sized):
    """The distance of an image's worst patch from its nearest in the bank, weighed by what lies around that one.

    Roth et al. 2021 (PatchCore, arXiv 2106.08265), equations 6 and 7. `bank` (M, width), M at most `most`; `around`
    (M, b): for each patch of the bank its b nearest there, itself first.
    """

    bank: Tensor
    around: Tensor

    def __init__(self, most: int, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.register_buffer("bank", torch.zeros(most, width))
        self.register_buffer("around", torch.zeros(most, neighbours, dtype=torch.int64))

    def learn(self, bank: Tensor) -> None:
        """Keeps patches (M, width)."""
        between = squared_distances(bank, bank).fill_diagonal_(-1)
        self.bank = bank.clone()
        self.around = between.topk(min(self.neighbours, len(bank)), 1, largest=False).indices

    def nearest(self, patches: Tensor) -> Tensor:
        """(K, width) -> (K,): the index, in the bank, of each patch's nearest."""
        least = torch.full_like(patches[:, 0], torch.inf)
        index = torch.zeros_like(patches[:, 0], dtype=torch.int64)
        for start in range(0, len(self.bank), _CHUNK):
            found = squared_distances(patches, self.bank[start : start + _CHUNK]).min(1)
            closer = found.values < least
            least = torch.where(closer, found.values, least)
            index = torch.where(closer, found.indices + start, index)
        return index

    def forward(self, patches: Tensor) -> Tensor:
        """(N, places, width) -> (N,)."""
        index = self.nearest(patches.flatten(0, 1)).view(patches.shape[:2])
        # the nearest is found by a product, which loses digits, and measured by the difference, which doesn't
        worst = torch.linalg.vector_norm(patches - self.bank[index], dim=2).max(1)
        place = worst.indices.unsqueeze(1)
        patch = patches.gather(1, place.unsqueeze(2).expand(-1, -1, patches.shape[2]))
        others = self.bank[self.around[index.gather(1, place).squeeze(1)]]
        apart = torch.linalg.vector_norm(patch - others, dim=2)
        weighed: Tensor = worst.values * (1 - torch.softmax(apart, 1)[:, 0])
        return weighed
