from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import nn
from torch.nn import functional as F

from medscreen.detectors.autoencoder.elbo import NegativeElbo
from medscreen.detectors.autoencoder.encoder_decoder import Decoder, Encoder, Layers
from medscreen.detectors.autoencoder.networks import Autoencoder, VariationalAutoencoder
from tiny_detectors import LAYERS

POOLED = LAYERS | {"down": [3, 5, 4], "strides": [2, 2, 1], "downsampling": "pooling", "up": [4, 3, 3], "norm": False}
KINDS = {
    "nearest": LAYERS,
    "pooled, transposed": POOLED | {"upsampling": "transposed2", "output_kernel": 5, "activation": "relu"},
    "without output_kernel, tanh": LAYERS
    | {"up": [4, 1], "upsampling": "transposed3", "output_kernel": None, "output": "tanh"},
}


def layers_of(settings: dict[str, Any] = LAYERS, **changes: Any) -> Layers:
    return Layers(**(settings | changes))


@pytest.mark.parametrize("size", [16, 20, 28, 32, 33, 64, 100])
@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("bottleneck", [3, None])
def test_an_image_of_any_size_is_reconstructed_at_its_size(size: int, settings: Any, bottleneck: int | None) -> None:
    images = torch.rand(2, 1, size, size)
    for kind in (Autoencoder, VariationalAutoencoder):
        with torch.no_grad():
            drawn = kind(layers_of(settings), size, bottleneck).eval()(images)
        assert drawn.shape == images.shape
        assert drawn.min() >= 0
        assert drawn.max() <= 1


@pytest.mark.parametrize("size", [16, 33, 64])
def test_all_that_an_autoencoder_keeps_passes_its_bottleneck(size: int) -> None:
    network = Autoencoder(layers_of(), size, 3).eval()
    (linear,) = (layer for layer in network.squeeze.modules() if isinstance(layer, nn.Linear))
    assert linear.out_features == 3
    nn.init.zeros_(linear.weight)
    with torch.no_grad():
        first, second = network(torch.rand(2, 1, size, size))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("settings", "size", "smallest"),
    [
        ({"down": [16, 32, 64], "strides": [2, 2, 2]}, 32, (64, 4, 4)),
        ({"down": [32, 16, 8], "strides": [2, 2, 1], "downsampling": "pooling"}, 28, (8, 6, 6)),
        ({"down": [16, 8, 4], "strides": [2, 2, 2]}, 28, (4, 4, 4)),
        ({"down": [16, 8, 8], "strides": [2, 2, 2], "downsampling": "pooling"}, 28, (8, 4, 4)),
    ],
)
def test_the_maps_of_the_notebooks_have_their_sizes(settings: Any, size: int, smallest: tuple[int, int, int]) -> None:
    assert Encoder(layers_of(**settings)).smallest(size) == smallest


def test_the_encoder_of_the_fractures_is_that_of_the_notebook() -> None:
    torch.manual_seed(0)
    ours = layers_of(down=[16, 32, 64], strides=[2, 2, 2], norm=False, activation="relu", output="tanh")
    theirs = nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
    )  # fmt: skip
    encoder, images = Encoder(ours), torch.rand(2, 1, 32, 32)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), encoder.state_dict().values(), strict=True)))
    torch.testing.assert_close(encoder(images), theirs((images - 0.5) / 0.5))


def test_the_decoder_of_the_fractures_is_that_of_the_notebook() -> None:
    torch.manual_seed(0)
    ours = layers_of(
        up=[32, 16, 1], upsampling="transposed3", output_kernel=None, norm=False, activation="relu", output="tanh"
    )  # fmt: skip
    theirs = nn.Sequential(
        nn.ConvTranspose2d(64, 32, 3, 2, 1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 3, 2, 1, output_padding=1), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 3, 2, 1, output_padding=1), nn.Tanh(),
    )  # fmt: skip
    decoder, code = Decoder(ours, 64, 32), 5 * torch.randn(2, 64, 4, 4)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), decoder.state_dict().values(), strict=True)))
    torch.testing.assert_close(decoder(code), (theirs(code) + 1) / 2)


def test_the_decoder_of_the_pooled_network_is_that_of_the_notebook() -> None:
    torch.manual_seed(0)
    ours = layers_of(up=[8, 8, 16], upsampling="transposed2", output_kernel=5, norm=False, activation="relu")
    theirs = nn.Sequential(
        nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, 2), nn.ReLU(),
        nn.ConvTranspose2d(8, 16, 2, 2), nn.ReLU(), nn.Conv2d(16, 1, 5, padding=2),
        nn.Upsample(size=(28, 28), mode="bilinear"), nn.Sigmoid(),
    )  # fmt: skip
    decoder, code = Decoder(ours, 8, 28), 5 * torch.randn(2, 8, 6, 6)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), decoder.state_dict().values(), strict=True)))
    torch.testing.assert_close(decoder(code), theirs(code))


def test_dropout_changes_the_training_alone() -> None:
    encoder, images = Encoder(layers_of(dropout=0.5, norm=False)), torch.rand(2, 1, 16, 16)
    assert not torch.equal(encoder.train()(images), encoder(images))
    torch.testing.assert_close(encoder.eval()(images), encoder(images), rtol=0, atol=0)


@pytest.mark.parametrize("bottleneck", [4, None])
def test_a_variational_code_is_drawn_in_training_and_its_mean_afterwards(bottleneck: int | None) -> None:
    torch.manual_seed(0)
    network = VariationalAutoencoder(layers_of(norm=False), 16, bottleneck)
    images = torch.rand(1, 1, 16, 16).expand(500, 1, 16, 16)
    with torch.no_grad():
        features = network.encoder(images)
        mean, spread = network.mean(features), torch.exp(0.5 * network.log_variance(features))
        codes: list[torch.Tensor] = []
        network.expand.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0]))
        network.train()(images)
        network.eval()(images)
    drawn, code = codes
    torch.testing.assert_close(code, mean)
    torch.testing.assert_close(drawn.mean(0), mean[0], atol=0.25, rtol=0)
    torch.testing.assert_close(drawn.std(0), spread[0], atol=0.2, rtol=0)


def test_the_divergence_agrees_with_drawn_codes() -> None:
    torch.manual_seed(0)
    network = VariationalAutoencoder(layers_of(norm=False), 16, 2).eval()
    for head, bias in ((network.mean, [0.5, -1.0]), (network.log_variance, [0.3, -1.2])):
        (linear,) = (layer for layer in head.modules() if isinstance(layer, nn.Linear))
        nn.init.zeros_(linear.weight)
        linear.bias.data = torch.tensor(bias)
    with torch.no_grad():
        _, divergence = network.encode_decode(torch.rand(3, 1, 16, 16))
    posterior = multivariate_normal([0.5, -1.0], np.diag(np.exp([0.3, -1.2])))
    codes = posterior.rvs(200_000, random_state=1)
    expected = (posterior.logpdf(codes) - multivariate_normal([0, 0]).logpdf(codes)).mean()
    np.testing.assert_allclose(divergence.numpy(), [expected] * 3, atol=0.01)


def test_evidence_is_cross_entropy_of_all_pixels_and_the_weighed_divergence() -> None:
    torch.manual_seed(0)
    network, images = VariationalAutoencoder(layers_of(), 16, 3).eval(), torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        reconstruction, divergence = network.encode_decode(images)
        entropy = F.binary_cross_entropy(reconstruction, images, reduction="none").sum((1, 2, 3))
        assert (divergence > 0).all()
        torch.testing.assert_close(NegativeElbo(network, 2.5)(images), entropy + 2.5 * divergence)
