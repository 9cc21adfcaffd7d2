"""Small residual classifier."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.places import Places
from medscreen.detectors.shared.layers.pooling import soft_maximum
from medscreen.detectors.shared.layers.standardization import standardized

Pooling = Literal["mean", "mean_and_peak"]


class ResidualClassifier(nn.Module):
    """Residual classifier: standardization, pixel unshuffle, three residual stages, pooling and a linear layer.

    Mean pooling responds to diffuse findings; the peak, a soft maximum, to localized ones.
    """

    def __init__(self, width: int, unshuffle: int, pooling: Pooling, outputs: int) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.peak = pooling == "mean_and_peak"
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(unshuffle),
            nn.Conv2d(unshuffle**2, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
        )
        self.stages = nn.Sequential(
            _Residual(width, width, 1), _Residual(width, 2 * width, 2), _Residual(2 * width, 4 * width, 2)
        )
        self.widths = [width, 2 * width, 4 * width]
        self.head = nn.Linear((2 if self.peak else 1) * 4 * width, outputs)

    def maps(self, images: Tensor, depth: int = 3) -> list[Tensor]:
        """(N, 1, S, S) -> feature maps (N, C, h, w) of the first `depth` stages, with `widths` channels."""
        height, width = images.shape[2:]
        missing = (0, -width % self.unshuffle, 0, -height % self.unshuffle)
        features, found = self.stem(F.pad(standardized(images), missing, mode="replicate")), []
        for stage in self.stages[:depth]:
            features = stage(features)
            found.append(features)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, outputs)."""
        return self.logits(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> last feature map (N, C, h, w)."""
        return self.maps(images)[-1]

    def logits(self, features: Tensor) -> Tensor:
        """Last feature map (N, C, h, w) -> logits (N, outputs)."""
        mean = features.mean((2, 3))
        logits: Tensor = self.head(torch.cat([mean, soft_maximum(features)], 1) if self.peak else mean)
        return logits

    def gradient(self, features: Tensor, of_logits: Tensor) -> Tensor:
        """Gradient (N, C, h, w) of the sum of logits x `of_logits` (N, outputs) by the last feature map."""
        channels, places = features.shape[1], features.shape[2] * features.shape[3]
        weights = (of_logits @ self.head.weight).unsqueeze(2).unsqueeze(3)
        gradient = (weights[:, :channels] / places).expand_as(features)
        if self.peak:  # the derivative of the soft maximum is the softmax over all positions
            gradient = gradient + weights[:, channels:] * torch.softmax(features.flatten(2), 2).view_as(features)
        return gradient

    def places(self, size: int, depth: int = 3) -> Places:  # noqa: ARG002
        """Receptive-field centers of the feature map of stage `depth` (from 1); the same for any `size`."""
        return Places((self.unshuffle - 1) / 2, self.unshuffle * 2 ** (depth - 1))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        return F.silu(self.path(features) + self.skip(features))
