"""Images freed of their exposure."""

from torch import Tensor


def standardised(images: Tensor) -> Tensor:
    """Each image (N, 1, S, S) at mean 0 and standard deviation 1, so that its exposure says nothing."""
    mean = images.mean((1, 2, 3), keepdim=True)
    spread = images.std((1, 2, 3), keepdim=True)
    return (images - mean) / (spread + 1e-3)
