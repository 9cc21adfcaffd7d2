"""The nn.Modules."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SSIM_WINDOW, _MEAN_WINDOW = 7, 5


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


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of images (N, 1, S, S) in 0..1 at each place of a 7 x 7 window, (N, 1, S-6, S-6): 1 where they agree.

    Wang et al. 2004 (doi 10.1109/TIP.2003.819861), uniform windows, K1 = .01, K2 = .03, sample covariance.
    """
    window = _SSIM_WINDOW
    unbiased = window**2 / (window**2 - 1)
    mean_a, mean_b = F.avg_pool2d(a, window, 1), F.avg_pool2d(b, window, 1)
    var_a = unbiased * (F.avg_pool2d(a * a, window, 1) - mean_a**2)
    var_b = unbiased * (F.avg_pool2d(b * b, window, 1) - mean_b**2)
    covariance = unbiased * (F.avg_pool2d(a * b, window, 1) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    result: Tensor = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return result


class LocalSurprise(nn.Module):
    """How far an image departs from what an autoencoder makes of it, where it departs most.

    Two residuals, 1 - SSIM and the absolute mean difference over 5 x 5 pixels, each standardised by what is usual
    at that place of a healthy image, are added up; the score is the mean over the `top` share of all places.
    """

    usual: Tensor
    spread: Tensor

    def __init__(self, autoencoder: nn.Module, size: int, top: float) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        side = size - _SSIM_WINDOW + 1
        self.places = max(1, round(top * side**2))
        self.register_buffer("usual", torch.zeros(2, side, side))
        self.register_buffer("spread", torch.ones(2, side, side))

    def residuals(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, 2, S-6, S-6)."""
        redrawn = self.autoencoder(images)
        difference = F.avg_pool2d(images - redrawn, _MEAN_WINDOW, 1).abs()
        margin = (_SSIM_WINDOW - _MEAN_WINDOW) // 2
        inner = difference[:, :, margin:-margin, margin:-margin]
        return torch.cat([1 - structural_similarity(images, redrawn), inner], 1)

    def learn_usual(self, residuals: Tensor) -> None:
        """Takes mean and spread of healthy images' residuals (N, 2, S-6, S-6) at each place."""
        self.usual.copy_(residuals.mean(0))
        # where healthy images hardly differ at all, a trifle must not count for everything
        least = 0.05 * residuals.std((0, 2, 3), keepdim=True)[0]
        self.spread.copy_(residuals.std(0) + least)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        surprise = ((self.residuals(images) - self.usual) / self.spread).sum(1)
        return surprise.flatten(1).topk(self.places).values.mean(1)


class ResidualClassifier(nn.Module):
    """Standardised, pixel-unshuffled image through three residual stages to logits."""

    def __init__(self, width: int, unshuffle: int, outputs: int) -> None:
        super().__init__()
        self.unshuffle = unshuffle
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(unshuffle),
            nn.Conv2d(unshuffle**2, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.SiLU(),
        )
        self.stages = nn.Sequential(
            _Residual(width, width, 1), _Residual(width, 2 * width, 2), _Residual(2 * width, 4 * width, 2)
        )
        self.head = nn.Linear(2 * 4 * width, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> logits (N, outputs)."""
        height, width = images.shape[2:]
        missing = (0, -width % self.unshuffle, 0, -height % self.unshuffle)
        features = self.stages(self.stem(F.pad(standardised(images), missing, mode="replicate")))
        # the mean sees what is everywhere, the soft maximum what is in one place
        logits: Tensor = self.head(torch.cat([features.mean((2, 3)), soft_maximum(features)], 1))
        return logits


class OneLogit(nn.Module):
    """The log odds of abnormal against normal, by a network of one output."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        logits: Tensor = self.classifier(images)
        return logits.squeeze(1)


class OddsOfAnyFinding(nn.Module):
    """The log odds of 1 - P(normal), and the probability of each class, by a network of K outputs, normal first."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, S, S) -> (N,) and (N, K)."""
        logits: Tensor = self.classifier(images)
        return torch.logsumexp(logits[:, 1:], 1) - logits[:, 0], torch.softmax(logits, 1)


def soft_maximum(features: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C): log of the mean of exp over all places, so that a small finding counts.

    Pinheiro, Collobert 2015 (arXiv 1411.6228), equation 4, with r = 1.
    """
    return torch.logsumexp(features, (2, 3)) - math.log(features.shape[2] * features.shape[3])


def standardised(images: Tensor) -> Tensor:
    """Each image (N, 1, S, S) at mean 0 and standard deviation 1, so that its exposure says nothing."""
    mean = images.mean((1, 2, 3), keepdim=True)
    spread = images.std((1, 2, 3), keepdim=True)
    return (images - mean) / (spread + 1e-3)


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
