"""Autoencoder trained on healthy images; its reconstruction error is the score."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.autoencoder import PlainAutoencoderParams, ResidualScore, VaeParams
from medscreen.data.images import ImageSet
from medscreen.detectors.autoencoder.elbo import NegativeElbo, elbo_terms
from medscreen.detectors.autoencoder.encoder_decoder import Layers
from medscreen.detectors.autoencoder.local_residual import StandardizedLocalResidual
from medscreen.detectors.autoencoder.networks import Autoencoder, VariationalAutoencoder
from medscreen.detectors.autoencoder.residual_scores import TopFractionResidual
from medscreen.detectors.shared.augmentation import pose_films
from medscreen.detectors.shared.base import OnEpoch, ignore, in_batches
from medscreen.detectors.shared.healthy_images import healthy_of
from medscreen.detectors.shared.layers.standardization import Standardized, standardized_gray
from medscreen.detectors.shared.training import Examples, Loss, Recipe, fit_network, seeded
from medscreen.errors import MedscreenError


class AutoencoderDetector:
    """One-class detector: plain or variational autoencoder, scored by the reconstruction error or the negative ELBO."""

    decision_boundary: float | None = None
    findings: tuple[str, ...] = ()

    def __init__(
        self, params: PlainAutoencoderParams | VaeParams, size: int, compute: ComputeParams, seed: int
    ) -> None:
        self.params, self.size, self.compute, self.seed = params, size, compute, seed
        if size < 2 ** sum(stride == 2 for stride in params.layers.strides):
            raise MedscreenError(
                f"params.yaml: layers.strides of the {params.variant} autoencoder halve {size} x {size} pixels too "
                "often. Remove steps from layers.down and layers.strides."
            )
        self._network: nn.Module = self._scoring(self._fresh()[0])
        self._learn_usual: Callable[[], None] | None = None

    @property
    def network(self) -> nn.Module:
        """The network that scores images."""
        if self._learn_usual:  # residual statistics are computed on first access: most epochs are never scored
            self._learn_usual()
            self._learn_usual = None
        return self._network

    def _fresh(self) -> tuple[TopFractionResidual | StandardizedLocalResidual | NegativeElbo, Loss]:
        """The untrained scoring network, and the training loss of its autoencoder."""
        seeded(self.seed)
        params, layers = self.params, Layers(**self.params.layers.model_dump())
        if isinstance(params, PlainAutoencoderParams):
            plain = Autoencoder(layers, self.size, params.bottleneck)
            return self._by_residual(plain, params.score), _squared_error(plain, params.noise)
        variational = VariationalAutoencoder(layers, self.size, params.bottleneck)
        loss = _evidence(variational, params.beta, params.noise)
        if params.score == "elbo":
            return NegativeElbo(variational, params.beta), loss
        return self._by_residual(variational, params.score), loss

    def _by_residual(
        self, autoencoder: nn.Module, score: ResidualScore
    ) -> TopFractionResidual | StandardizedLocalResidual:
        if score == "local":
            return StandardizedLocalResidual(autoencoder, self.size, self.params.top_fraction)
        return TopFractionResidual(autoencoder, score, self.params.top_fraction)

    def _scoring(self, scorer: nn.Module) -> nn.Module:
        return (Standardized(scorer) if self.params.standardize else scorer).eval()

    def _input(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> the autoencoder's input, same shape."""
        return standardized_gray(images) if self.params.standardize else images

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:
        """Trains on the healthy images of `train`, with early stopping on those of `tune`."""
        scorer, loss = self._fresh()
        healthy = healthy_of(train, "train", least=2)
        tuned = Examples.of(healthy_of(tune, "tune", least=1))
        tuned = replace(tuned, images=self._input(tuned.images))

        def augment(images: Tensor) -> Tensor:
            return self._input(pose_films(images, self.params.pose))

        def learn_usual() -> None:
            if isinstance(scorer, StandardizedLocalResidual):
                device = scorer.usual.device
                with torch.no_grad():
                    scorer.learn_usual(
                        in_batches(lambda images: scorer.residuals(self._input(images.to(device))), healthy.pixels)
                    )

        def after_epoch(epoch: int, terms: Mapping[str, float]) -> None:
            self._learn_usual = learn_usual
            on_epoch(epoch, terms)

        self._network = self._scoring(scorer)
        recipe = Recipe(self.params.training, self.compute, self.seed, augment)
        fit_network(scorer, loss, Examples.of(healthy), tuned, recipe, after_epoch)
        learn_usual()
        self._learn_usual = None
        return self


def _squared_error(autoencoder: Autoencoder, noise: float) -> Loss:
    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG001
        return {"loss": F.mse_loss(autoencoder(_noisy(images, noise, autoencoder)), images)}

    return loss


def _evidence(autoencoder: VariationalAutoencoder, beta: float, noise: float) -> Loss:
    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:  # noqa: ARG001
        terms = elbo_terms(autoencoder, images, _noisy(images, noise, autoencoder))
        entropy, divergence = (term.mean() for term in terms)
        return {"loss": entropy + beta * divergence, "cross_entropy": entropy, "divergence": divergence}

    return loss


def _noisy(images: Tensor, noise: float, autoencoder: nn.Module) -> Tensor:
    """Adds Gaussian noise to the input in training; the reconstruction target stays the clean image.

    Denoising autoencoder: Vincent et al. 2008 (doi 10.1145/1390156.1390294).
    """
    return images + noise * torch.randn_like(images) if noise and autoencoder.training else images
