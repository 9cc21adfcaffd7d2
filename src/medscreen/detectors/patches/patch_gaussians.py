"""Gaussian of the features of healthy images at each position (PaDiM)."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.pooling import mean_of_top

_RIDGE = 0.01
_NOTHING = 1e-6  # keeps the variance above 0 where all healthy images are alike


class PlaceGaussians(nn.Module):
    """Mean of the largest Mahalanobis distances of positions from the healthy features there.

    Defard et al. 2020 (PaDiM, arXiv 2011.08785). The paper adds .01 to every variance; here it is .01 of the mean
    variance, since backbones differ in scale. `top`: fraction of positions in the mean, at least one position.
    """

    mean: Tensor
    root: Tensor

    def __init__(self, places: int, width: int, top: float) -> None:
        super().__init__()
        self.top = top
        self.register_buffer("mean", torch.zeros(places, width))
        self.register_buffer("root", torch.eye(width).repeat(places, 1, 1))

    def learn(self, batches: Iterable[Tensor]) -> None:
        """Fits mean and covariance at each position to batches (N, positions, width) of healthy images."""
        number, total, products = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            placed = batch.double().transpose(0, 1)
            number += placed.shape[1]
            total = total + placed.sum(1)
            products = products + placed.transpose(1, 2) @ placed
        mean = total / number
        covariance = products / number - mean.unsqueeze(2) * mean.unsqueeze(1)
        variances = covariance.diagonal(dim1=1, dim2=2)
        ridge = _RIDGE * variances.mean() + _NOTHING
        precision = np.linalg.inv((covariance + ridge * torch.eye(mean.shape[1])).numpy())
        self.mean.copy_(mean)
        self.root.copy_(torch.from_numpy(np.linalg.cholesky((precision + precision.transpose(0, 2, 1)) / 2)))

    def distances(self, patches: Tensor) -> Tensor:
        """(N, positions, width) -> distances (N, positions)."""
        whitened = (patches - self.mean).transpose(0, 1) @ self.root
        lengths: Tensor = torch.linalg.vector_norm(whitened, dim=2)
        return lengths.T

    def forward(self, patches: Tensor) -> Tensor:
        """(N, positions, width) -> scores (N,)."""
        return mean_of_top(self.distances(patches), self.top)
