"""The plain classifier of convolutions that halve the image."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn


class PlainCnn(nn.Module):
    """Convolutions of 3 x 3, each followed by a maximum over 2 x 2, then one hidden layer.

    `dropouts`: the share of the last convolution's maps that training leaves out, and of the hidden neurons.
    """

    def __init__(
        self, size: int, filters: Sequence[int], neurons: int, outputs: int, dropouts: tuple[float, float]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, width in itertools.pairwise([1, *filters]):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
            size = -(-size // 2)
        layers.insert(-2, nn.Dropout2d(dropouts[0]))
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(filters[-1] * size**2, neurons),
            nn.ReLU(),
            nn.Dropout(dropouts[1]),
            nn.Linear(neurons, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, size, size) -> logits (N, outputs)."""
        logits: Tensor = self.head(self.convolutions(images))
        return logits
