"""Networks that redraw an image through a small code."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Autoencoder(nn.Module):
    """Halves the image until at most 8 pixels are left a side, squeezes them through a small linear layer."""

    def __init__(self, size: int, width: int, bottleneck: int) -> None:
        super().__init__()
        sizes = [size]
        while sizes[-1] > 8:
            sizes.append(-(-sizes[-1] // 2))
        widths = [1, *(width * 2**i for i in range(len(sizes) - 1))]
        self.down = nn.ModuleList(_conv_block(a, b, stride=2) for a, b in itertools.pairwise(widths))
        flat = widths[-1] * sizes[-1] ** 2
        self.squeeze = nn.Linear(flat, bottleneck)
        self.expand = nn.Linear(bottleneck, flat)
        self.up = nn.ModuleList(
            _conv_block(b, max(a, width), stride=1) for a, b in reversed(list(itertools.pairwise(widths)))
        )
        self.paint = nn.Conv2d(width, 1, 3, padding=1)
        self.smallest = (widths[-1], sizes[-1], sizes[-1])
        self.sizes_up = sizes[-2::-1]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> its reconstruction in 0..1, same shape."""
        features = images
        for block in self.down:
            features = block(features)
        code = self.squeeze(features.flatten(1))
        features = F.silu(self.expand(code)).view(-1, *self.smallest)
        for block, size in zip(self.up, self.sizes_up, strict=True):
            features = block(F.interpolate(features, size=(size, size), mode="nearest"))
        return torch.sigmoid(self.paint(features))


def _conv_block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.SiLU(),
    )
