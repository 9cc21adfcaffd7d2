"""k-NN head: distance-weighted vote of the training embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers

PRIOR_WEIGHT = 0.5
"""Weight added to every class, so that an image far from all known ones is undecided."""


class KnnHead(DynamicBuffers):
    """Distance-weighted vote of the nearest known vectors as log odds, as if all classes were equally frequent.

    A neighbor at cosine c has the weight exp((c - usual) / temperature): 1 at the cosine that is usual between a known
    vector and the nearest other (Wu et al. 2018, arXiv 1805.01978, weigh by exp(c / temperature)). `vectors` (M, width)
    have length 1; `classes` (M, K) is 1 where a vector is of a class; `counted` (most,) is 1 for the k nearest that
    count; `balance` (K,) is the factor of each class.
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
        """(N, width) -> (N, K): the sum of the weights of each class."""
        cosines = F.normalize(vectors, dim=1) @ self.vectors.T
        nearest, which = cosines.topk(len(self.counted), dim=1)
        weights = torch.exp((nearest - self.usual) / self.temperature) * self.counted
        return (weights.unsqueeze(2) * self.classes[which]).sum(1)

    def forward(self, vectors: Tensor) -> Tensor:
        """(N, width) -> (N, K) logits; of two classes (N, 1), the log odds of the second."""
        logits = torch.log(self.class_weights(vectors) * self.balance + PRIOR_WEIGHT)
        return logits[:, 1:] - logits[:, :1] if logits.shape[1] == 2 else logits
