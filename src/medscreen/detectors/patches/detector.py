"""PaDiM and PatchCore: patch features of a frozen backbone, compared with those of healthy images."""

import math
from collections.abc import Callable, Iterator
from typing import Self

import torch
from torch import Tensor, nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.patches import PadimParams, PatchcoreParams
from medscreen.data.images import ImageSet, Pixels, batches
from medscreen.detectors.patches.coreset import coreset, projected
from medscreen.detectors.patches.feature_maps import Channels, Patches
from medscreen.detectors.patches.memory_bank import MemoryBank
from medscreen.detectors.patches.patch_gaussians import PlaceGaussians
from medscreen.detectors.shared.base import OnEpoch, as_images, ignore
from medscreen.detectors.shared.healthy_images import healthy_of
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.pretrained import bare_backbone, read_backbone
from medscreen.detectors.shared.training import seeded
from medscreen.errors import MedscreenError


def patches_detector(
    params: PadimParams | PatchcoreParams, compute: ComputeParams, seed: int
) -> "PadimDetector | PatchcoreDetector":
    """Builds the detector of a variant."""
    match params:
        case PadimParams():
            return PadimDetector(params, compute, seed)
        case PatchcoreParams():
            return PatchcoreDetector(params, compute, seed)


class PadimDetector:
    """PaDiM: a Gaussian of backbone features at each position (Defard et al. 2020, arXiv 2011.08785)."""

    decision_boundary: float | None = None
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
                f"params.yaml: {self.params.backbone.name} has {patches.width} channels at depths "
                f"{self.params.depths}, fewer than features = {kept}. Lower features of this detector or add depths."
            )
        channels = Channels(torch.randperm(patches.width)[:kept].sort().values)
        return patches, channels, PlaceGaussians(patches.places, kept, self.params.top_fraction)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Fits the Gaussians to the patches of the healthy images of `train`; `tune` is unused."""
        patches, channels, gaussians = self._fresh(read_backbone)
        pixels = healthy_of(train, "train", least=2).pixels
        torch.set_num_threads(self.compute.threads)
        with torch.no_grad():
            cuts = batches(len(pixels), pixels.shape[1])
            gaussians.learn(channels(patches(as_images(pixels[cut]))) for cut in cuts)
        self.network = _chain(patches, channels, gaussians)
        return self


class PatchcoreDetector:
    """PatchCore: a memory bank of patch features of a backbone (Roth et al. 2021, arXiv 2106.08265)."""

    decision_boundary: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: PatchcoreParams, compute: ComputeParams, seed: int) -> None:
        self.params, self.compute, self.seed = params, compute, seed
        self.network: nn.Module = _chain(*self._fresh(bare_backbone))

    def _fresh(self, backbone: Callable[[BackboneParams], Backbone]) -> tuple[Patches, MemoryBank]:
        seeded(self.seed)
        params = self.params
        patches = Patches(backbone(params.backbone).eval(), params.depths, params.grid, params.neighborhood)
        return patches, MemoryBank(params.most, patches.width, params.top_fraction)

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Fills the memory bank with a coreset of the patches of healthy images of `train`; `tune` is unused.

        The bank holds the fraction `share` of the patches, at most `most`. Beyond most / share patches, that many are
        sampled at random first, which bounds memory and time.
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


def _chosen(patches: Patches, pixels: Pixels, drawn: Tensor) -> Iterator[Tensor]:
    """Patches of images (N, S, S) at the sorted indices `drawn`, which count through all images; batch by batch."""
    for cut in batches(len(pixels), pixels.shape[1]):
        first = cut.start * patches.places
        found = patches(as_images(pixels[cut])).flatten(0, 1)
        yield found[drawn[(drawn >= first) & (drawn < first + len(found))] - first]
