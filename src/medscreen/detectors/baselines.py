"""Detectors of one line: what every other one has to beat."""

from typing import Self

import torch

from medscreen.detectors.networks.statistics import HealthyDistance
from medscreen.detectors.protocol import OnEpoch, as_images, ignore
from medscreen.images import ImageSet
from medscreen.params import StatisticParams

_BATCH = 256


class StatisticDetector:
    """Scores by how far one number of an image lies from the healthy median, on either side."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: StatisticParams) -> None:
        self.network = HealthyDistance(params.kind)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Takes the median over the healthy images of `train`; `tune` is not needed."""
        healthy = as_images(train.healthy().pixels)
        with torch.no_grad():
            values = torch.cat([self.network.statistic(batch) for batch in torch.split(healthy, _BATCH)])
            self.network.healthy_median.copy_(values.median())
        return self
