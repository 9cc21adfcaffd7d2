"""Detectors that learn to redraw healthy images and distrust what they redraw badly."""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.fitting import Examples, Recipe, fit_network, seeded
from medscreen.detectors.networks.autoencoders import Autoencoder
from medscreen.detectors.networks.surprise import LocalSurprise
from medscreen.detectors.protocol import OnEpoch, ignore
from medscreen.images import ImageSet
from medscreen.params import AutoencoderParams, ComputeParams

_BATCH = 256


class AutoencoderDetector:
    """A convolutional autoencoder with a small bottleneck, scored where it redraws an image worst."""

    score_at_half: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(self, params: AutoencoderParams, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.network: nn.Module = self._fresh()

    def _fresh(self) -> LocalSurprise:
        seeded(self.seed)
        autoencoder = Autoencoder(self.size, self.params.width, self.params.bottleneck)
        return LocalSurprise(autoencoder, self.size, self.params.top).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Minimises the squared error on the healthy images of `train`; those of `tune` say when to stop."""
        network = self._fresh()
        healthy = Examples.of(train.healthy())

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG001
            return {"loss": F.mse_loss(network.autoencoder(images), images)}

        fit_network(
            network,
            loss,
            healthy,
            Examples.of(tune.healthy()),
            Recipe(self.params.training, self.compute, self.seed),
            on_epoch,
        )
        with torch.no_grad():
            network.learn_usual(torch.cat([network.residuals(batch) for batch in torch.split(healthy.images, _BATCH)]))
        self.network = network
        return self
