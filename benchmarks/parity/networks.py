"""The notebooks' networks, layer by layer as they wrote them; medscreen's own are in src/medscreen/detectors."""

import torch
from torch import Tensor, nn


def autoencoder_000() -> nn.Module:
    """1 x 32 x 32 in -1..1: three strided convolutions (16, 32, 64) and their transposes, tanh."""
    strided = {"stride": 2, "padding": 1}
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, **strided), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, **strided), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, **strided), nn.ReLU()),
        *(nn.ConvTranspose2d(64, 32, 3, output_padding=1, **strided), nn.ReLU()),
        *(nn.ConvTranspose2d(32, 16, 3, output_padding=1, **strided), nn.ReLU()),
        *(nn.ConvTranspose2d(16, 1, 3, output_padding=1, **strided), nn.Tanh()),
    )


def _pooled_encoder(first: int, second: int) -> nn.Sequential:
    """1 x 28 x 28 -> 8 x 6 x 6: the last pooling has a stride of 1."""
    return nn.Sequential(
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)),
        *(nn.Conv2d(second, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 1)),
    )


def _decoder(channels: int, kernel: int) -> nn.Sequential:
    """Three doublings, then resized to 28 x 28; output in 0..1."""
    return nn.Sequential(
        *(nn.ConvTranspose2d(channels, 8, 2, 2), nn.ReLU()),
        *(nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU()),
        *(nn.ConvTranspose2d(8, 16, 2, 2), nn.ReLU()),
        nn.Conv2d(16, 1, kernel, padding=kernel // 2),
        nn.Upsample(size=(28, 28), mode="bilinear"),
        nn.Sigmoid(),
    )


def autoencoder_001() -> nn.Module:
    """1 x 28 x 28 in 0..1: 32-16-8 filters with pooling."""
    return nn.Sequential(_pooled_encoder(32, 16), _decoder(8, 5))


def relaxed_autoencoder_001() -> nn.Module:
    """1 x 28 x 28 in 0..1: strided convolutions 16-8-4 with dropout."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(16, 8, 3, 2, 1), nn.ReLU(), nn.Dropout(0.2)),
        *(nn.Conv2d(8, 4, 3, 2, 1), nn.ReLU()),
        _decoder(4, 3),
    )


class VAE001(nn.Module):
    """1 x 28 x 28 in 0..1: variational, 128 latent numbers, sampled in evaluation as in training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _pooled_encoder(16, 8)
        self.mean, self.log_variance = nn.Linear(288, 128), nn.Linear(288, 128)
        self.expand = nn.Linear(128, 288)
        self.decoder = _decoder(8, 5)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction, mean and log variance of the code."""
        features = self.encoder(images).flatten(1)
        mean, log_variance = self.mean(features), self.log_variance(features)
        code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(self.expand(code).view(-1, 8, 6, 6)), mean, log_variance


def cnn_002(size: int) -> nn.Module:
    """1 x size x size in 0..1 -> one logit: 32-64-128 filters, 128 neurons, dropout of the neurons alone."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
        *(nn.Linear(128 * (size // 8) ** 2, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 1),
    )
