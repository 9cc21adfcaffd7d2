"""Detectors that learn from both classes."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.augmentation import augment_films
from medscreen.detectors.fitting import Examples, Recipe, fit_network, seeded
from medscreen.detectors.networks import ResidualClassifier
from medscreen.detectors.protocol import OnEpoch, ignore
from medscreen.images import ImageSet
from medscreen.params import CnnParams, ComputeParams


class CnnDetector:
    """A small residual network; its score is the logit of being abnormal."""

    score_at_half: float | None = 0.0

    def __init__(self, params: CnnParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = self._fresh()

    def _fresh(self) -> ResidualClassifier:
        seeded(self.seed)
        return ResidualClassifier(self.params.width, self.params.unshuffle).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Minimises the cross-entropy, each class weighing the same."""
        network = self._fresh()
        examples = Examples.of(train)
        abnormal = examples.labels.mean()

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
            weights = torch.where(labels > 0.5, 0.5 / abnormal, 0.5 / (1 - abnormal))
            return {"loss": F.binary_cross_entropy_with_logits(network(images), labels, weights)}

        fit_network(
            network,
            loss,
            examples,
            Examples.of(tune),
            Recipe(self.params.training, self.compute, self.seed, augment_films),
            on_epoch,
        )
        self.network = network
        return self
