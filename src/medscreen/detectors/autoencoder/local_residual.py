"""Local residual score: standardized residuals of the reconstruction."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.pooling import mean_of_top
from medscreen.detectors.shared.layers.ssim import WINDOW, structural_similarity

_MEAN_WINDOW = 5


class StandardizedLocalResidual(nn.Module):
    """Mean of the largest standardized residuals of an autoencoder's reconstruction.

    Two residuals, 1 - SSIM and the absolute mean difference over 5 x 5 pixels, are standardized by mean and standard
    deviation of healthy images at each position, and added. The score is the mean of the largest `top` fraction.
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, autoencoder: nn.Module, size: int, top: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        side = size - WINDOW + 1
        self.top = top
        self.register_buffer("usual", torch.zeros(2, side, side))
        self.register_buffer("spread", torch.ones(2, side, side))

    def residuals(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> residuals (N, 2, S-6, S-6)."""
        return residuals_between(images, self.autoencoder(images))

    def learn_usual(self, residuals: Tensor) -> None:
        """Sets mean and spread at each position from the residuals (N, 2, S-6, S-6) of healthy images."""
        self.usual.copy_(residuals.mean(0))
        # a lower bound of the spread: where healthy images hardly vary, tiny deviations would dominate the score
        least = 0.05 * residuals.std((0, 2, 3), keepdim=True)[0]
        self.spread.copy_(residuals.std(0) + least)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        residual = ((self.residuals(images) - self.usual) / self.spread).sum(1)
        return mean_of_top(residual, self.top)


def residuals_between(images: Tensor, reconstructions: Tensor) -> Tensor:
    """(N, 1, S, S) twice -> (N, 2, S-6, S-6): 1 - SSIM, and the absolute mean difference over 5 x 5 pixels."""
    difference = F.avg_pool2d(images - reconstructions, _MEAN_WINDOW, 1).abs()
    margin = (WINDOW - _MEAN_WINDOW) // 2
    inner = difference[:, :, margin:-margin, margin:-margin]
    return torch.cat([1 - structural_similarity(images, reconstructions), inner], 1)
