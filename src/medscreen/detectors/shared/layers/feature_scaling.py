"""Vectors freed of their columns' units."""

import torch
from torch import Tensor, nn


class Scaling(nn.Module):
    """Each column less its mean, divided by its spread; both are learned elsewhere."""

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        return (vectors - self.mean) / self.spread
