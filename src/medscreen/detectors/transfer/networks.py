"""Classifier on a pretrained backbone."""

from typing import Self

from torch import Tensor, nn

from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.places import Places


class TransferClassifier(nn.Module):
    """Backbone, global average pooling, dropout and a linear layer.

    The first `frozen` stages are not trained, and their batch norms stay in eval mode.
    """

    def __init__(self, backbone: Backbone, frozen: int, dropout: float, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.frozen = frozen
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(backbone.widths[-1], outputs))
        for stage in backbone.stages[:frozen]:
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode; frozen stages stay in eval mode."""
        super().train(mode)
        for stage in self.backbone.stages[: self.frozen]:
            stage.eval()
        return self

    def groups(self, decay: float) -> list[tuple[list[nn.Parameter], float]]:
        """Parameter groups with their factor of the learning rate: head, then trained stages from last to first.

        Discriminative fine-tuning: Howard, Ruder 2018 (arXiv 1801.06146), section 3.2.
        """
        learning = reversed(self.backbone.stages[self.frozen :])
        shares = [decay ** (i + 1) for i in range(len(self.backbone.stages))]
        parts = [(list(self.head.parameters()), 1.0)]
        return parts + [(list(stage.parameters()), share) for stage, share in zip(learning, shares, strict=False)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, outputs)."""
        return self.logits(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> last feature map (N, C, h, w)."""
        features: Tensor = self.backbone(images)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Last feature map (N, C, h, w) -> logits (N, outputs)."""
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits

    def gradient(self, features: Tensor, of_logits: Tensor) -> Tensor:
        """Gradient (N, C, h, w) of the sum of logits x `of_logits` (N, outputs) by the last feature map."""
        linear: nn.Linear = self.head[-1]  # type: ignore[assignment]
        weights = of_logits @ linear.weight / (features.shape[2] * features.shape[3])
        return weights.unsqueeze(2).unsqueeze(3).expand_as(features)

    def places(self, size: int) -> Places:
        """Receptive-field centers of the last feature map in an image of `size` pixels."""
        return self.backbone.places(size)
