"""Novelty detector: distance of handcrafted features from those of healthy images, without gradient training."""

from typing import Self

import torch
from torch import nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.novelty import HogParams, MahalanobisParams, NearestParams, NoveltyParams, PyramidParams
from medscreen.data.images import ImageSet
from medscreen.detectors.novelty.hog import OrientedGradients
from medscreen.detectors.novelty.laplacian_pyramid import PyramidEnergies
from medscreen.detectors.shared.base import OnEpoch, ignore, in_batches
from medscreen.detectors.shared.healthy_images import healthy_of
from medscreen.detectors.shared.layers.distances import MahalanobisDistance, NeighborDistance
from medscreen.detectors.shared.training import seeded
from medscreen.errors import MedscreenError

_MOST_NUMBERS = 2**27  # float32 values: half a gigabyte in a package


class NoveltyDetector:
    """Handcrafted features with a distance from those of healthy images."""

    decision_boundary: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: NoveltyParams, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.network: nn.Module = _chain(*self._fresh())

    def _fresh(self) -> tuple[PyramidEnergies | OrientedGradients, MahalanobisDistance | NeighborDistance]:
        features = _features(self.params.features, self.size)
        _require_room(features.width, self.params.distance)
        match self.params.distance:
            case MahalanobisParams():
                return features, MahalanobisDistance(features.width)
            case NearestParams(neighbors=neighbors):
                return features, NeighborDistance(features.width, neighbors)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Fits the distance to the healthy images of `train`; `tune` is unused.

        Raises MedscreenError if there are fewer than `neighbors`.
        """
        features, distance = self._fresh()
        pixels = healthy_of(train, "train", least=2).pixels
        if isinstance(self.params.distance, NearestParams):
            most, neighbors = self.params.distance.most, self.params.distance.neighbors
            if len(pixels) < neighbors:
                raise MedscreenError(
                    f"train: {len(pixels)} healthy images, fewer than neighbors = {neighbors}. Lower neighbors in the "
                    "detector's block distance."
                )
            seeded(self.seed)
            pixels = pixels[torch.randperm(len(pixels))[:most].sort().values.numpy()]
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            distance.learn(in_batches(features, pixels))
        self.network = _chain(features, distance)
        return self


def _chain(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts).eval()


def _features(params: PyramidParams | HogParams, size: int) -> PyramidEnergies | OrientedGradients:
    match params:
        case PyramidParams():
            return PyramidEnergies(size, params.levels, params.grid)
        case HogParams():
            return OrientedGradients(params.cells, params.bins, params.block, params.signed)


def _require_room(width: int, distance: MahalanobisParams | NearestParams) -> None:
    """Raises MedscreenError if the distance would store more than half a gigabyte for features of this width."""
    numbers = width * (distance.most if isinstance(distance, NearestParams) else width)
    if numbers > _MOST_NUMBERS:
        raise MedscreenError(
            f"params.yaml: {width:,} features an image, for which the distance would store {4 * numbers / 1e9:.1f} GB. "
            "Lower grid, cells, block or bins in the detector's block features, or most in its block distance."
        )
