"""Pixelwise residuals of a reconstruction, and scores from them."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.pooling import mean_of_top
from medscreen.detectors.shared.layers.ssim import structural_similarity

ResidualName = Literal["mse", "l1", "bce", "ssim", "gradient"]

_LEAST = 1e-6  # keeps the logarithm finite


def squared_error(images: Tensor, reconstruction: Tensor) -> Tensor:
    """(N, 1, S, S) twice -> (N, 1, S, S): squared error of each pixel."""
    return (images - reconstruction).square()


def absolute_error(images: Tensor, reconstruction: Tensor) -> Tensor:
    """(N, 1, S, S) twice -> (N, 1, S, S): absolute error of each pixel."""
    return (images - reconstruction).abs()


def cross_entropy(images: Tensor, reconstruction: Tensor) -> Tensor:
    """(N, 1, S, S) twice, in 0..1 -> (N, 1, S, S): binary cross-entropy, with gray values taken as probabilities.

    Where both agree, it is the entropy of the gray value, not 0.
    """
    reconstruction = reconstruction.clamp(_LEAST, 1 - _LEAST)
    return -(images * torch.log(reconstruction) + (1 - images) * torch.log(1 - reconstruction))


def dissimilarity(images: Tensor, reconstruction: Tensor) -> Tensor:
    """(N, 1, S, S) twice, in 0..1 -> (N, 1, S-6, S-6): 1 - SSIM."""
    return 1 - structural_similarity(images, reconstruction)


def gradient_error(images: Tensor, reconstruction: Tensor) -> Tensor:
    """(N, 1, S, S) twice -> (N, 1, S-1, S-1): absolute gradient error, both directions added."""
    error = images - reconstruction
    down = error[:, :, 1:, :-1] - error[:, :, :-1, :-1]
    across = error[:, :, :-1, 1:] - error[:, :, :-1, :-1]
    return down.abs() + across.abs()


RESIDUALS: Mapping[ResidualName, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": squared_error,
    "l1": absolute_error,
    "bce": cross_entropy,
    "ssim": dissimilarity,
    "gradient": gradient_error,
}


class TopFractionResidual(nn.Module):
    """Mean of the largest `top` fraction of an autoencoder's residuals."""

    def __init__(self, autoencoder: nn.Module, residual: ResidualName, top: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.residual = RESIDUALS[residual]
        self.top = top

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        return mean_of_top(self.residual(images, self.autoencoder(images)), self.top)
