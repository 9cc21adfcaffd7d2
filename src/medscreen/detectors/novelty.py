"""Detectors that measure how far an image lies from the healthy ones; none has an optimiser loop."""

import math
from collections.abc import Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn

from medscreen.detectors.fitting import seeded
from medscreen.detectors.networks.backbones import Backbone
from medscreen.detectors.networks.banks import PatchBank
from medscreen.detectors.networks.coresets import coreset, projected
from medscreen.detectors.networks.distances import MahalanobisDistance, NeighbourDistance
from medscreen.detectors.networks.gaussians import PlaceGaussians
from medscreen.detectors.networks.histograms import OrientedGradients
from medscreen.detectors.networks.patches import Channels, Patches
from medscreen.detectors.networks.pyramids import PyramidEnergies
from medscreen.detectors.pretrained import read_weights
from medscreen.detectors.protocol import OnEpoch, as_images, ignore
from medscreen.errors import MedscreenError
from medscreen.images import ImageSet
from medscreen.params import (
    ComputeParams,
    HogParams,
    MahalanobisParams,
    NearestParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
    PatchesParams,
    PyramidParams,
)

_BATCH = 256


class NoveltyDetector:
    """Features by a fixed rule, and their distance from those of the healthy images."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: NoveltyParams, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.network: nn.Module = _chain(*self._fresh())

    def _fresh(self) -> tuple[PyramidEnergies | OrientedGradients, MahalanobisDistance | NeighbourDistance]:
        features = _features(self.params.features, self.size)
        match self.params.distance:
            case MahalanobisParams():
                return features, MahalanobisDistance(features.width)
            case NearestParams(neighbours=neighbours):
                return features, NeighbourDistance(features.width, neighbours)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Measures the healthy images of `train`; `tune` is not needed.

        Raises MedscreenError where there are fewer of them than the distance asks for.
        """
        features, distance = self._fresh()
        images = _healthy(train)
        if isinstance(self.params.distance, NearestParams):
            most, neighbours = self.params.distance.most, self.params.distance.neighbours
            if len(images) < neighbours:
                raise MedscreenError(
                    f"There are {len(images)} healthy images in train, fewer than the {neighbours} nearest that are "
                    "asked for; lower neighbours of this detector's distance."
                )
            images = _some(images, most, self.seed)
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            distance.learn(torch.cat([features(batch) for batch in torch.split(images, _BATCH)]))
        self.network = _chain(features, distance)
        return self


class PadimDetector:
    """A Gaussian at each place of a pretrained network's maps (Defard et al. 2020, arXiv 2011.08785)."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: PadimParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = _chain(*self._fresh(None))

    def _fresh(self, weights: Mapping[str, Tensor] | None) -> tuple[Patches, Channels, PlaceGaussians]:
        patches = _patches(self.params, 1, weights, self.seed)
        kept = self.params.features
        if kept > patches.width:
            raise MedscreenError(
                f"{self.params.backbone.name} has {patches.width} channels at depths {self.params.depths}, fewer than "
                f"features = {kept}; lower features of this detector or name further depths."
            )
        channels = Channels(torch.randperm(patches.width)[:kept].sort().values)
        return patches, channels, PlaceGaussians(patches.places, kept, self.params.top)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Measures the patches of the healthy images of `train`; `tune` is not needed."""
        backbone = self.params.backbone
        patches, channels, gaussians = self._fresh(read_weights(backbone.name, backbone.weights))
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            gaussians.learn(channels(patches(batch)) for batch in torch.split(_healthy(train), _BATCH))
        self.network = _chain(patches, channels, gaussians)
        return self


class PatchcoreDetector:
    """A bank of patches of a pretrained network's maps (Roth et al. 2021, arXiv 2106.08265)."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: PatchcoreParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = _chain(*self._fresh(None))

    def _fresh(self, weights: Mapping[str, Tensor] | None) -> tuple[Patches, PatchBank]:
        patches = _patches(self.params, self.params.neighbourhood, weights, self.seed)
        return patches, PatchBank(self.params.most, patches.places, patches.width, self.params.top)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Keeps a covering share of the patches of the healthy images of `train`; `tune` is not needed.

        The bank is at most `most` patches; of more images than that takes, patches are drawn at random first, so that
        neither memory nor time grow further.
        """
        backbone, share, most = self.params.backbone, self.params.share, self.params.most
        patches, bank = self._fresh(read_weights(backbone.name, backbone.weights))
        images = _healthy(train)
        every = len(images) * patches.places
        seeded(self.seed, 1)
        drawn = torch.randperm(every)[: math.ceil(most / share)].sort().values
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            found = torch.cat(list(_chosen(patches, images, drawn)))
            kept = coreset(projected(found), max(1, min(most, round(share * len(found)))))
            bank.learn(found[kept])
        self.network = _chain(patches, bank)
        return self


def _chain(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts).eval()


def _features(params: PyramidParams | HogParams, size: int) -> PyramidEnergies | OrientedGradients:
    match params:
        case PyramidParams():
            return PyramidEnergies(size, params.levels, params.grid)
        case HogParams():
            return OrientedGradients(params.cells, params.bins, params.block, params.signed)


def _patches(params: PatchesParams, neighbourhood: int, weights: Mapping[str, Tensor] | None, seed: int) -> Patches:
    seeded(seed)
    backbone = Backbone(params.backbone.name, params.backbone.channels, params.backbone.side, weights)
    return Patches(backbone.eval(), params.depths, params.grid, neighbourhood)


def _healthy(train: ImageSet) -> Tensor:
    """Raises MedscreenError where there are fewer than two."""
    images = as_images(train.healthy().pixels)
    if len(images) < 2:
        raise MedscreenError(
            f"There are {len(images)} healthy images in train, and a one-class detector needs two at least; correct "
            "the labels or normal_labels of the data set."
        )
    return images


def _some(images: Tensor, most: int, seed: int) -> Tensor:
    seeded(seed)
    return images[torch.randperm(len(images))[:most].sort().values]


def _chosen(patches: Patches, images: Tensor, drawn: Tensor) -> Iterator[Tensor]:
    """The patches of images (N, 1, S, S) whose numbers, counted through all images, are `drawn`, in order."""
    size = _BATCH * patches.places
    for number, batch in enumerate(torch.split(images, _BATCH)):
        here = drawn[(drawn >= number * size) & (drawn < (number + 1) * size)] - number * size
        yield patches(batch).flatten(0, 1)[here]
