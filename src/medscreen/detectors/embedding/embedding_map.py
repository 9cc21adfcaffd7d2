"""Place map of an embedding detector: contribution of each position of the feature maps to the log odds."""

import torch
from torch import Tensor, nn

from medscreen.detectors.embedding.networks import Embedding, EmbeddingClassifier
from medscreen.detectors.shared.layers.abnormal_logit import OneLogit
from medscreen.detectors.shared.layers.feature_scaling import Scaling
from medscreen.detectors.shared.layers.places import interpolation
from medscreen.detectors.shared.layers.pooling import cells


class EmbeddingMap(nn.Module):
    """Logit of a logistic regression on cell means, split by position: weight x (feature - mean), over all depths.

    The contributions sum to the logit minus the bias; negative ones are then set to 0.
    """

    unit = "log odds per place"

    def __init__(self, scorer: nn.Module, size: int) -> None:
        super().__init__()
        self.one_logit = isinstance(scorer, OneLogit)
        self.classifier: EmbeddingClassifier = scorer.classifier  # type: ignore[assignment]
        self.embedding: Embedding = self.classifier.embedding
        self.depths, self.grid = self.embedding.depths, self.embedding.grid
        backbone = self.embedding.backbone
        with torch.no_grad():
            maps = backbone.maps(torch.zeros(1, 1, size, size), self.depths[-1])  # type: ignore[operator]
        for depth in self.depths:
            side = maps[depth - 1].shape[-1]
            places = backbone.places(size, depth)  # type: ignore[operator]
            self.register_buffer(f"cells_{depth}", cells(side, self.grid))
            self.register_buffer(f"weights_{depth}", interpolation(size, side, places))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 1, S, S) in 0..1 -> maps (N, 1, S, S)."""
        scaling, linear = self.classifier.head
        assert isinstance(scaling, Scaling)  # noqa: S101
        maps = self.embedding.backbone.maps(images, self.depths[-1])  # type: ignore[operator]
        if self.one_logit:
            of_logits = images.new_ones(images.shape[0], 1)
        else:
            logits = self.classifier.head(self.embedding.pooled(maps))
            of_logits = torch.cat([-torch.ones_like(logits[:, :1]), torch.softmax(logits[:, 1:], 1)], 1)
        gradient = of_logits @ linear.weight / scaling.spread  # type: ignore[operator]
        total, start = torch.zeros_like(images), 0
        for depth in self.depths:
            features = maps[depth - 1]
            width = features.shape[1] * self.grid**2
            shape = (-1, features.shape[1], self.grid, self.grid)
            slope, mean = (of[..., start : start + width].reshape(shape) for of in (gradient, scaling.mean))
            start += width
            down: Tensor = getattr(self, f"cells_{depth}")
            found = features * (down.T @ slope @ down) - down.T @ (slope * mean) @ down
            weights: Tensor = getattr(self, f"weights_{depth}")
            total = total + weights @ found.sum(1, keepdim=True) @ weights.T
        return total.clamp(min=0)
