"""Distances of feature vectors from those of healthy images."""

import numpy as np
import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers
from medscreen.detectors.shared.layers.feature_scaling import Scaling

_LEAST = 0.05
_NOTHING = 1e-6  # keeps the spread above 0 where all healthy images are equal


def learn_scaling(scaling: Scaling, vectors: Tensor) -> None:
    """Fits mean and spread of the columns of vectors (M, width).

    5 % of the mean spread is added to every spread: otherwise features that hardly vary in healthy images would
    dominate the distance.
    """
    scaling.mean.copy_(vectors.mean(0))
    spread = vectors.std(0, unbiased=False)
    scaling.spread.copy_(spread + _LEAST * spread.mean() + _NOTHING)


class MahalanobisDistance(nn.Module):
    """Mahalanobis distance from the healthy vectors, with Ledoit-Wolf shrinkage of the covariance.

    Ledoit, Wolf 2004 (doi 10.1016/S0047-259X(03)00096-4), on scaled columns.
    """

    root: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scaling = Scaling(width)
        self.register_buffer("root", torch.eye(width))

    def learn(self, vectors: Tensor) -> None:
        """Fits mean and covariance of healthy vectors (M, width)."""
        from sklearn.covariance import LedoitWolf

        learn_scaling(self.scaling, vectors)
        scaled = self.scaling(vectors).numpy().astype(np.float64)
        covariance = LedoitWolf(assume_centered=True).fit(scaled).covariance_
        precision = np.linalg.inv(covariance + _NOTHING * np.eye(len(covariance)))
        self.root.copy_(torch.from_numpy(np.linalg.cholesky((precision + precision.T) / 2)))

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> distances (N,)."""
        distance: Tensor = torch.linalg.vector_norm(self.scaling(vectors) @ self.root, dim=1)
        return distance

    def terms(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, width): contribution of each column to the squared distance; may be negative."""
        scaled = self.scaling(vectors)
        terms: Tensor = scaled * (scaled @ self.root @ self.root.T)
        return terms


class NeighborDistance(DynamicBuffers):
    """Mean Euclidean distance to the `neighbors` nearest healthy vectors, with scaled columns.

    `known` (M, width): all healthy vectors, scaled.
    """

    known: Tensor

    def __init__(self, width: int, neighbors: int) -> None:
        super().__init__()
        self.neighbors = neighbors
        self.scaling = Scaling(width)
        self.register_buffer("known", torch.zeros(neighbors, width))

    def learn(self, vectors: Tensor) -> None:
        """Stores healthy vectors (M, width), scaled."""
        learn_scaling(self.scaling, vectors)
        self.known = self.scaling(vectors)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> distances (N,)."""
        distances: Tensor = torch.linalg.vector_norm(self._differences(vectors), dim=2)
        return distances.mean(1)

    def terms(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, width): contribution of each column to the mean squared distance."""
        return self._differences(vectors).square().mean(1)

    def _differences(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, neighbors, width): scaled differences from the nearest healthy vectors."""
        scaled: Tensor = self.scaling(vectors)
        nearest = squared_distances(scaled, self.known).topk(self.neighbors, 1, largest=False).indices
        # a matrix product finds the nearest fast but loses digits; the distances are taken from the differences
        return scaled.unsqueeze(1) - self.known[nearest]


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(N, width) and (M, width) -> (N, M), by one matrix product; error about 1e-6 of the larger squared length."""
    return a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * (a @ b.T)
