"""Detectors of one line: what every other one has to beat."""

from typing import Self

import torch

from medscreen.detectors.networks.gradients import GradientDistance
from medscreen.detectors.protocol import OnEpoch, as_images, ignore
from medscreen.images import ImageSet


class GradientDetector:
    """Scores by how far an image's mean gradient lies from the healthy median, on either side."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.network = GradientDistance()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Takes the median over the healthy images of `train`; `tune` is not needed."""
        with torch.no_grad():
            gradients = self.network.gradient(as_images(train.healthy().pixels))
            self.network.healthy_median.copy_(gradients.median())
        return self
