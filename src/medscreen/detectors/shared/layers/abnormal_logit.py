"""Score of a classifier: log odds of abnormal from its logits."""

import torch
from torch import Tensor, nn


class OneLogit(nn.Module):
    """Log odds of abnormal, from a network with one output."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> scores (N,)."""
        logits: Tensor = self.classifier(images)
        return logits.squeeze(1)


class AnyFindingLogit(nn.Module):
    """Log odds of any finding, 1 - P(normal), and class probabilities, from a network with K outputs, normal first."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, S, S) -> scores (N,) and probabilities (N, K)."""
        logits: Tensor = self.classifier(images)
        return torch.logsumexp(logits[:, 1:], 1) - logits[:, 0], torch.softmax(logits, 1)
