"""Standardization of images, which removes differences in exposure."""

from torch import Tensor, nn

_MIDDLE, _SPREAD = 0.5, 0.2


def standardized(images: Tensor) -> Tensor:
    """Standardizes each image (N, 1, S, S) to mean 0 and standard deviation 1."""
    centered = images - images.mean((1, 2, 3), keepdim=True)
    # twice: in a constant image, the rounding error of the first mean would be amplified
    centered = centered - centered.mean((1, 2, 3), keepdim=True)
    return centered / (images.std((1, 2, 3), keepdim=True) + 1e-3)


def standardized_gray(images: Tensor) -> Tensor:
    """Standardizes each image (N, 1, S, S) to mean .5 and standard deviation .2, clamped to 0..1."""
    return (_MIDDLE + _SPREAD * standardized(images)).clamp(0, 1)


class Standardized(nn.Module):
    """Network on images standardized by `standardized_gray`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> output of the network."""
        result: Tensor = self.network(standardized_gray(images))
        return result
