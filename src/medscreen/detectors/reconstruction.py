"""Detectors that learn to redraw healthy images and distrust what they redraw badly."""

from typing import Self

from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.fitting import Examples, Recipe, fit_network, seeded
from medscreen.detectors.networks import Autoencoder, Dissimilarity
from medscreen.detectors.protocol import OnEpoch, ignore
from medscreen.images import ImageSet
from medscreen.params import AutoencoderParams, ComputeParams


class AutoencoderDetector:
    """A convolutional autoencoder with a small bottleneck, scored by 1 - SSIM."""

    score_at_half: float | None = None

    def __init__(self, params: AutoencoderParams, size: int, compute: ComputeParams, seed: int) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        self.network: nn.Module = self._fresh()

    def _fresh(self) -> Dissimilarity:
        seeded(self.seed)
        return Dissimilarity(Autoencoder(self.size, self.params.width, self.params.bottleneck)).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Minimises the squared error on the healthy images of `train`; those of `tune` say when to stop."""
        network = self._fresh()

        def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG001
            return {"loss": F.mse_loss(network.autoencoder(images), images)}

        fit_network(
            network,
            loss,
            Examples.of(train.healthy()),
            Examples.of(tune.healthy()),
            Recipe(self.params.training, self.compute, self.seed),
            on_epoch,
        )
        self.network = network
        return self
