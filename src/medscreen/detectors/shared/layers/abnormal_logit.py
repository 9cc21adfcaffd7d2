"""From logits to the one score that a detector gives."""

import torch
from torch import Tensor, nn


class OneLogit(nn.Module):
    """The log odds of abnormal against normal, by a network of one output."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        logits: Tensor = self.classifier(images)
        return logits.squeeze(1)


class AnyFindingLogit(nn.Module):
    """The log odds of 1 - P(normal), and the probability of each class, by a network of K outputs, normal first."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, S, S) -> (N,) and (N, K)."""
        logits: Tensor = self.classifier(images)
        return torch.logsumexp(logits[:, 1:], 1) - logits[:, 0], torch.softmax(logits, 1)
