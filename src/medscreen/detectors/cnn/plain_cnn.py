"""Plain convolutional classifier."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from medscreen.detectors.shared.layers.places import Places


class PlainCnn(nn.Module):
    """3 x 3 convolutions, each followed by 2 x 2 max pooling, then one hidden layer.

    `dropouts`: dropout probabilities of the last convolution's channels and of the hidden neurons.
    """

    def __init__(
        self, size: int, filters: Sequence[int], neurons: int, outputs: int, dropouts: tuple[float, float]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, width in itertools.pairwise([1, *filters]):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.MaxPool2d(2, ceil_mode=True), nn.ReLU()]
            size = -(-size // 2)
        self.downsamplings = len(filters)
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
        return self.logits(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, size, size) -> last feature map (N, C, h, w)."""
        features: Tensor = self.convolutions(images)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Last feature map (N, C, h, w) -> logits (N, outputs)."""
        logits: Tensor = self.head(features)
        return logits

    def gradient(self, features: Tensor, of_logits: Tensor) -> Tensor:
        """Gradient (N, C, h, w) of the sum of logits x `of_logits` (N, outputs) by the last feature map."""
        hidden, last = (layer for layer in self.head if isinstance(layer, nn.Linear))
        active = (hidden(features.flatten(1)) > 0).float()
        gradient: Tensor = ((of_logits @ last.weight * active) @ hidden.weight).view_as(features)
        return gradient

    def places(self, size: int) -> Places:  # noqa: ARG002
        """Receptive-field centers of the last feature map."""
        step = 2**self.downsamplings
        return Places((step - 1) / 2, step)
