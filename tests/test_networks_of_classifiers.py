from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from medscreen.detectors.cnn.plain_cnn import PlainCnn
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.residual_network import ResidualClassifier
from medscreen.detectors.shared.layers.tta import TtaClassifier
from medscreen.detectors.transfer.networks import TransferClassifier

Floats = NDArray[np.float64]


def tensor(images: Floats) -> torch.Tensor:
    return torch.from_numpy(images[:, None].astype(np.float32))


def views_by_hand(image: Floats, number: int) -> list[Floats]:
    side = len(image)
    step = max(1, round(side / 28))
    padded = np.pad(image, step, mode="edge")
    found = []
    for down, right in [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)][: 5 if number >= 5 else 1]:
        top, left = step * (1 + down), step * (1 + right)
        found.append(padded[top : top + side, left : left + side])
    return found + [view[:, ::-1] for view in found] if number % 2 == 0 else found


class Contrast(torch.nn.Module):
    """Two logits that no linear mean of images would give."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        flat = images.flatten(1)
        return torch.stack([flat[:, 3] ** 2, (flat[:, 40] * flat[:, 7]).sqrt()], 1)


@pytest.mark.parametrize("size", [16, 28, 64])
@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_logits_are_averaged_over_the_views(number: int, size: int) -> None:
    images = np.random.default_rng(1).random((3, size, size))
    expected = [Contrast()(tensor(np.stack(views_by_hand(image, number)))).mean(0).numpy() for image in images]
    assert len(views_by_hand(images[0], number)) == number
    np.testing.assert_allclose(TtaClassifier(Contrast(), number)(tensor(images)).numpy(), expected, atol=1e-6)


def test_a_plain_cnn_has_the_notebooks_layers() -> None:
    network = PlainCnn(128, [32, 64, 128], 128, 1, (0.2, 0.5))
    assert network.head[1].in_features == 32768  # as printed there
    expected = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (32768 + 1) * 128 + 129
    assert sum(weight.numel() for weight in network.parameters()) == expected


@pytest.mark.parametrize(("size", "layers"), [(16, 1), (28, 3), (33, 2), (20, 6)])
def test_a_plain_cnn_takes_any_size(size: int, layers: int) -> None:
    network = PlainCnn(size, [2] * layers, 3, 4, (0.0, 0.0))
    assert network(torch.rand(5, 1, size, size)).shape == (5, 4)


def test_dropouts_drop_whole_maps_of_the_last_convolution_and_hidden_neurons() -> None:
    torch.manual_seed(0)
    network = PlainCnn(16, [4, 40], 60, 1, (0.5, 0.25)).train()
    torch.nn.init.ones_(network.convolutions[0].bias)
    seen: dict[str, torch.Tensor] = {}
    network.convolutions[-1].register_forward_hook(lambda *args: seen.update(maps=args[2]))
    network.head[3].register_forward_hook(lambda *args: seen.update(hidden=args[2] == 0, before=args[1][0] == 0))
    network(torch.rand(50, 1, 16, 16))
    silent = (seen["maps"] == 0).all(3).all(2).float().mean()
    assert silent > 0.45
    dropped = (seen["hidden"] & ~seen["before"]).float().mean() / (~seen["before"]).float().mean()
    assert abs(dropped - 0.25) < 0.05
    network.eval()(torch.rand(50, 1, 16, 16))
    assert torch.equal(seen["hidden"], seen["before"])


@pytest.fixture
def transferred() -> TransferClassifier:
    return TransferClassifier(Backbone("resnet18", "sum", 32), frozen=2, dropout=0.3, outputs=3)


def test_frozen_stages_stay_as_they_are_while_the_others_learn(transferred: TransferClassifier) -> None:
    before = {name: value.clone() for name, value in transferred.state_dict().items()}
    transferred.train()
    transferred(torch.rand(4, 1, 20, 20)).sum().backward()
    for name, weight in transferred.named_parameters():
        frozen = name.startswith(("backbone.stages.0.", "backbone.stages.1."))
        assert (weight.grad is None) == frozen, name
    for name, value in transferred.state_dict().items():
        if "running" in name:
            frozen = name.startswith(("backbone.stages.0.", "backbone.stages.1."))
            assert torch.equal(value, before[name]) == frozen, name
    assert not any(module.training for module in transferred.eval().modules())


def test_earlier_stages_learn_at_a_share_of_the_next_ones_rate(transferred: TransferClassifier) -> None:
    groups = transferred.groups(0.5)
    stages = transferred.backbone.stages
    assert [share for _, share in groups] == [1.0, 0.5, 0.25, 0.125]
    expected = [transferred.head, stages[4], stages[3], stages[2]]
    for (weights, _), module in zip(groups, expected, strict=True):
        assert [id(weight) for weight in weights] == [id(weight) for weight in module.parameters()]


def test_a_transfer_classifier_averages_over_places(transferred: TransferClassifier) -> None:
    images = torch.rand(2, 1, 40, 40)
    with torch.no_grad():
        features = transferred.eval().backbone(images).mean((2, 3))
        expected = features @ transferred.head[1].weight.T + transferred.head[1].bias
        torch.testing.assert_close(transferred(images), expected)


@pytest.mark.parametrize("pooling", ["mean", "mean_and_peak"])
def test_a_residual_classifier_does_not_see_the_exposure(pooling: Any) -> None:
    torch.manual_seed(1)
    classifier = ResidualClassifier(4, 2, pooling, 2).eval()
    images = torch.rand(6, 1, 20, 20)
    with torch.no_grad():
        first, darker = classifier(images), classifier(0.4 * images + 0.1)
    torch.testing.assert_close(first, darker, atol=2e-3, rtol=0)
