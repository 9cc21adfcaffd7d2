"""Images freed of their exposure."""

from torch import Tensor, nn

_MIDDLE, _SPREAD = 0.5, 0.2


def standardised(images: Tensor) -> Tensor:
    """Each image (N, 1, S, S) at mean 0 and standard deviation 1, so that its exposure says nothing."""
    centred = images - images.mean((1, 2, 3), keepdim=True)
    # twice: in an image of one grey, what the first mean rounds off would be all there is to see
    centred = centred - centred.mean((1, 2, 3), keepdim=True)
    return centred / (images.std((1, 2, 3), keepdim=True) + 1e-3)


def standardised_grey(images: Tensor) -> Tensor:
    """Each image (N, 1, S, S) at mean .5 and standard deviation .2, cut off at 0 and 1: still grey values."""
    return (_MIDDLE + _SPREAD * standardised(images)).clamp(0, 1)


class Standardised(nn.Module):
    """A network that sees each image at the same mean and contrast."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> what the network makes of them."""
        result: Tensor = self.network(standardised_grey(images))
        return result
