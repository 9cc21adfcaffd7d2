"""k-NN head: distance-weighted k-nearest-neighbor classifier on the training embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers

PRIOR_WEIGHT = 0.5
"""Prior weight of every class: far from all training vectors, all classes are equally likely."""


class KnnHead(DynamicBuffers):
    """Distance-weighted k-nearest-neighbor classifier; logits with equal class priors.

    A neighbor at cosine similarity c has the weight exp((c - usual) / temperature), where `usual` is the median cosine
    between a training vector and its nearest neighbor (Wu et al. 2018, arXiv 1805.01978: exp(c / temperature)).
    `vectors` (M, width): training vectors of length 1. `classes` (M, K): their one-hot classes. `counted` (most,): 1
    for the first k neighbors. `balance` (K,): factor of each class.
    """

    vectors: Tensor
    classes: Tensor
    counted: Tensor
    usual: Tensor
    temperature: Tensor
    balance: Tensor

    def __init__(self, width: int, classes: int, most: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(most, width))
        self.register_buffer("classes", torch.zeros(most, classes))
        self.register_buffer("counted", torch.ones(most))
        self.register_buffer("usual", torch.zeros(()))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("balance", torch.ones(classes))

    def class_weights(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, K): summed neighbor weights of each class."""
        cosines = F.normalize(vectors, dim=1) @ self.vectors.T
        nearest, which = cosines.topk(len(self.counted), dim=1)
        weights = torch.exp((nearest - self.usual) / self.temperature) * self.counted
        return (weights.unsqueeze(2) * self.classes[which]).sum(1)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> logits (N, K); for two classes (N, 1), the log odds of the second."""
        logits = torch.log(self.class_weights(vectors) * self.balance + PRIOR_WEIGHT)
        return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits
