"""Feature scaling."""

import torch
from torch import Tensor, nn


class Scaling(nn.Module):
    """Subtracts the mean of each column and divides by its spread; the caller sets both."""

    mean: Tensor
    spread: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        return (vectors - self.mean) / self.spread
