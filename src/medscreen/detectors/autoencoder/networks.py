"""Plain and variational autoencoder."""

import math

import torch
from torch import Tensor, nn

from medscreen.detectors.autoencoder.encoder_decoder import Decoder, Encoder, Layers

_MOST_LOG_VARIANCE = 10.0  # clamped, so that the exponential stays finite for images far from the training images


class Autoencoder(nn.Module):
    """Encoder, code, decoder. The code has `bottleneck` dimensions; None: the code is the encoder's feature map."""

    def __init__(self, layers: Layers, size: int, bottleneck: int | None) -> None:
        super().__init__()
        self.encoder = Encoder(layers)
        smallest = self.encoder.smallest(size)
        self.squeeze = nn.Identity() if bottleneck is None else _squeezing(smallest, bottleneck)
        self.expand = _expanding(layers, smallest, bottleneck)
        self.decoder = Decoder(layers, smallest[0], size)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) in 0..1 -> reconstruction, same shape and range."""
        reconstruction: Tensor = self.decoder(self.expand(self.squeeze(self.encoder(images))))
        return reconstruction


class VariationalAutoencoder(nn.Module):
    """Autoencoder with a normally distributed code: sampled in training, its mean at evaluation.

    Kingma, Welling 2014 (arXiv 1312.6114). `bottleneck` as in `Autoencoder`.
    """

    def __init__(self, layers: Layers, size: int, bottleneck: int | None) -> None:
        super().__init__()
        self.encoder = Encoder(layers)
        smallest = self.encoder.smallest(size)
        self.mean = _squeezing(smallest, bottleneck)
        self.log_variance = _squeezing(smallest, bottleneck)
        self.expand = _expanding(layers, smallest, bottleneck)
        self.decoder = Decoder(layers, smallest[0], size)

    def encode_decode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, S, S) in 0..1 -> reconstruction, same shape, and KL divergence of the code (N,) in nats.

        Kullback-Leibler divergence from the standard normal distribution (appendix B of the paper).
        """
        features = self.encoder(images)
        mean = self.mean(features)
        log_variance = self.log_variance(features).clamp(-_MOST_LOG_VARIANCE, _MOST_LOG_VARIANCE)
        code = mean
        if self.training:
            code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)
        return self.decoder(self.expand(code)), divergence

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) in 0..1 -> reconstruction, same shape and range."""
        return self.encode_decode(images)[0]


def _squeezing(smallest: tuple[int, int, int], bottleneck: int | None) -> nn.Module:
    if bottleneck is None:
        return nn.Conv2d(smallest[0], smallest[0], 1)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(smallest), bottleneck))


def _expanding(layers: Layers, smallest: tuple[int, int, int], bottleneck: int | None) -> nn.Module:
    if bottleneck is None:
        return nn.Identity()
    back = nn.Sequential(nn.Linear(bottleneck, math.prod(smallest)), nn.Unflatten(1, smallest))
    return nn.Sequential(back, nn.ReLU() if layers.activation == "relu" else nn.SiLU())
