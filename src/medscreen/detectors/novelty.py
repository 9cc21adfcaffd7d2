"""Detectors that measure how far an image lies from the healthy ones; none has an optimiser loop."""

import math
from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor, nn

from medscreen.detectors.fitting import seeded
from medscreen.detectors.healthy import healthy_of
from medscreen.detectors.networks.backbones import Backbone
from medscreen.detectors.networks.banks import PatchBank
from medscreen.detectors.networks.coresets import coreset, projected
from medscreen.detectors.networks.distances import MahalanobisDistance, NeighbourDistance
from medscreen.detectors.networks.gaussians import PlaceGaussians
from medscreen.detectors.networks.histograms import OrientedGradients
from medscreen.detectors.networks.patches import Channels, Patches
from medscreen.detectors.networks.pyramids import PyramidEnergies
from medscreen.detectors.pretrained import bare_backbone, read_backbone
from medscreen.detectors.protocol import OnEpoch, as_images, ignore, in_batches
from medscreen.errors import MedscreenError
from medscreen.images import ImageSet, Pixels, batches
from medscreen.params import (
    BackboneParams,
    ComputeParams,
    HogParams,
    MahalanobisParams,
    NearestParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
    PyramidParams,
)

_MOST_NUMBERS = 2**27  # of 4 bytes: what a package can hold and a computer invert


class NoveltyDetector:
    """Features by a fixed rule, and their distance from those of the healthy images."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: NoveltyParams, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.network: nn.Module = _chain(*self._fresh())

    def _fresh(self) -> tuple[PyramidEnergies | OrientedGradients, MahalanobisDistance | NeighbourDistance]:
        features = _features(self.params.features, self.size)
        _require_room(features.width, self.params.distance)
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
        pixels = healthy_of(train, "train", least=2).pixels
        if isinstance(self.params.distance, NearestParams):
            most, neighbours = self.params.distance.most, self.params.distance.neighbours
            if len(pixels) < neighbours:
                raise MedscreenError(
                    f"There are {len(pixels)} healthy images in train, fewer than the {neighbours} nearest that are "
                    "asked for; lower neighbours of this detector's distance."
                )
            seeded(self.seed)
            pixels = pixels[torch.randperm(len(pixels))[:most].sort().values.numpy()]
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            distance.learn(in_batches(features, pixels))
        self.network = _chain(features, distance)
        return self


class PadimDetector:
    """A Gaussian at each place of a pretrained network's maps (Defard et al. 2020, arXiv 2011.08785)."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: PadimParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = _chain(*self._fresh(bare_backbone))

    def _fresh(self, backbone: Callable[[BackboneParams], Backbone]) -> tuple[Patches, Channels, PlaceGaussians]:
        seeded(self.seed)
        patches = Patches(backbone(self.params.backbone).eval(), self.params.depths, self.params.grid, 1)
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
        patches, channels, gaussians = self._fresh(read_backbone)
        pixels = healthy_of(train, "train", least=2).pixels
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            cuts = batches(len(pixels), pixels.shape[1])
            gaussians.learn(channels(patches(as_images(pixels[cut]))) for cut in cuts)
        self.network = _chain(patches, channels, gaussians)
        return self


class PatchcoreDetector:
    """A bank of patches of a pretrained network's maps (Roth et al. 2021, arXiv 2106.08265)."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: PatchcoreParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = _chain(*self._fresh(bare_backbone))

    def _fresh(self, backbone: Callable[[BackboneParams], Backbone]) -> tuple[Patches, PatchBank]:
        seeded(self.seed)
        params = self.params
        patches = Patches(backbone(params.backbone).eval(), params.depths, params.grid, params.neighbourhood)
        return patches, PatchBank(params.most, patches.width, params.top)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Keeps a covering share of the patches of the healthy images of `train`; `tune` is not needed.

        The bank is at most `most` patches; of more images than that takes, patches are drawn at random first, so that
        neither memory nor time grow further.
        """
        share, most = self.params.share, self.params.most
        patches, bank = self._fresh(read_backbone)
        pixels = healthy_of(train, "train", least=2).pixels
        every = len(pixels) * patches.places
        seeded(self.seed, 1)
        drawn = torch.randperm(every)[: math.ceil(most / share)].sort().values
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            found = torch.cat(list(_chosen(patches, pixels, drawn)))
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


def _require_room(width: int, distance: MahalanobisParams | NearestParams) -> None:
    """Raises MedscreenError where a distance would keep more than half a gigabyte of features of that width."""
    numbers = width * (distance.most if isinstance(distance, NearestParams) else width)
    if numbers > _MOST_NUMBERS:
        raise MedscreenError(
            f"The features make {width:,} numbers of an image, and the distance would keep {4 * numbers / 1e9:.1f} GB "
            "of them; lower grid, cells, block or bins of this detector's features, or most of its distance."
        )


def _chosen(patches: Patches, pixels: Pixels, drawn: Tensor) -> Iterator[Tensor]:
    """The patches of images (N, S, S) whose numbers, counted through all images, are `drawn`, in order."""
    for cut in batches(len(pixels), pixels.shape[1]):
        first = cut.start * patches.places
        found = patches(as_images(pixels[cut])).flatten(0, 1)
        yield found[drawn[(drawn >= first) & (drawn < first + len(found))] - first]
