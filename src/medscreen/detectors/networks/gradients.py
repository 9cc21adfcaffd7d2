"""Mean gradients of images, and how far they lie from the healthy ones."""

import torch
from torch import Tensor, nn


class GradientDistance(nn.Module):
    """Distance of an image's mean absolute gradient from that of the median healthy image."""

    healthy_median: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("healthy_median", torch.zeros(()))

    def gradient(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,): mean absolute difference of neighbouring pixels, both directions."""
        down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean((1, 2, 3))
        across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean((1, 2, 3))
        return down + across

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        return (self.gradient(images) - self.healthy_median).abs()
