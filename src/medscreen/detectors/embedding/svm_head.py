"""SVM head: decision function from support vectors and dual coefficients."""

import torch
from torch import Tensor

from medscreen.detectors.shared.layers.distances import squared_distances
from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers


class SvmHead(DynamicBuffers):
    """Decision values sum_i w_ik exp(-gamma |x - v_i|^2) + b_k of K SVMs with shared support vectors.

    `vectors` (M, width), `weights` (M, K), `offsets` (K,), `gamma` (); M depends on the data.
    """

    vectors: Tensor
    weights: Tensor
    offsets: Tensor
    gamma: Tensor

    def __init__(self, width: int, machines: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(1, width))
        self.register_buffer("weights", torch.zeros(1, machines))
        self.register_buffer("offsets", torch.zeros(machines))
        self.register_buffer("gamma", torch.ones(()))

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> decision values (N, K)."""
        distances = squared_distances(vectors, self.vectors).clamp(min=0)
        return torch.exp(-self.gamma * distances) @ self.weights + self.offsets
