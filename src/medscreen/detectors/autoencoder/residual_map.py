"""Residual map: difference of image and reconstruction at each pixel."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.autoencoder.elbo import NegativeElbo
from medscreen.detectors.autoencoder.local_residual import StandardizedLocalResidual, residuals_between
from medscreen.detectors.autoencoder.residual_scores import TopFractionResidual, cross_entropy
from medscreen.detectors.shared.layers.standardization import Standardized, standardized_gray

# Subtracted from the sum of the two residuals, because healthy images deviate as well: on val of the phantom, the share
# of the map's energy inside the lesion is .42 with it and .17 without.
_USUAL = 3.0


class ResidualMap(nn.Module):
    """Residual behind the score, at each pixel.

    For the local score: the sum of the two standardized residuals minus 3, in standard deviations of healthy images.
    For the others: the residual in the unit of the score. A cross-entropy is reduced by that of a perfect
    reconstruction; the KL divergence of the code is left out, because it has no position in the image.
    """

    def __init__(self, scorer: nn.Module) -> None:
        super().__init__()
        self.standardized = isinstance(scorer, Standardized)
        self.scorer: Any = scorer.network if isinstance(scorer, Standardized) else scorer

    @property
    def unit(self) -> str:
        """Unit of the map's values."""
        if isinstance(self.scorer, StandardizedLocalResidual):
            return "standard deviations of healthy images beyond 3"
        return "residual of the reconstruction"

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, S, S) in 0..1 -> map, and reconstruction of the autoencoder's input; both of the same shape."""
        inputs = standardized_gray(images) if self.standardized else images
        reconstruction = self.scorer.autoencoder(inputs)
        residual = self._residual(inputs, reconstruction).clamp(min=0)
        return _framed(residual, images.shape[-1]), reconstruction

    def _residual(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        match self.scorer:
            case StandardizedLocalResidual() as local:
                deviations = (residuals_between(images, reconstruction) - local.usual) / local.spread
                return deviations.sum(1, keepdim=True) - _USUAL
            case TopFractionResidual() as worst if worst.residual is not cross_entropy:
                return worst.residual(images, reconstruction)
            case TopFractionResidual() | NegativeElbo():
                return cross_entropy(images, reconstruction) - cross_entropy(images, images)
            case _:
                raise TypeError(f"no residual map of {type(self.scorer).__name__}")


def _framed(residual: Tensor, size: int) -> Tensor:
    """Pads a residual with zeros to the size of the image; windows have cut its border off."""
    missing = size - residual.shape[-1]
    before = missing // 2
    return F.pad(residual, (before, missing - before, before, missing - before))
