"""Baseline detector of kind `statistic`, which every other detector has to beat."""

from typing import Self

import torch

from medscreen.config.detectors.statistic import StatisticParams
from medscreen.data.images import ImageSet
from medscreen.detectors.shared.base import OnEpoch, ignore, in_batches
from medscreen.detectors.shared.healthy_images import healthy_of
from medscreen.detectors.statistic.networks import HealthyDistance


class StatisticDetector:
    """Scores an image by the absolute difference of one statistic from the median of healthy images."""

    decision_boundary: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: StatisticParams) -> None:
        self.network = HealthyDistance(params.variant)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Computes the median over the healthy images of `train`; `tune` is unused."""
        with torch.no_grad():
            values = in_batches(self.network.statistic, healthy_of(train, "train", least=2).pixels)
            self.network.healthy_median.copy_(values.median())
        return self
