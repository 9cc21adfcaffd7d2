from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from medscreen.config.detectors.backbone import BackboneParams
from medscreen.detectors.shared.layers.backbones import STAGES, Backbone, BackboneName, tensors

NAMES = get_args(BackboneName)
every_backbone = pytest.mark.parametrize("name", NAMES)


def whole(name: str) -> nn.Module:
    """The network as its makers give it."""
    if name == "efficientnet_lite0":
        from efficientnet_lite_pytorch import EfficientNet

        network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    else:
        import torchvision.models

        network = getattr(torchvision.models, name)()
    return network.eval()


def last_map(name: str, network: Any, shown: Tensor) -> Tensor:
    """What the makers' own forward pass gives before it averages over places."""
    if name == "efficientnet_lite0":
        return network.extract_features(shown)
    if name == "densenet121":
        return torch.relu(network.features(shown))
    if name == "vgg19":
        return network.features(shown)
    found = []
    network.layer4.register_forward_hook(lambda *args: found.append(args[2]))
    network(shown)
    return found[0]


def own_weights(name: str, network: nn.Module) -> dict[str, Tensor]:
    return {
        key: network.state_dict()[key if key in network.state_dict() else f"features.{key}"] for key in tensors(name)
    }


@pytest.fixture
def network(name: str) -> nn.Module:
    """With weights and statistics that make every layer count."""
    torch.manual_seed(1)
    made = whole(name)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return made


def test_params_offer_the_backbones_that_there_are() -> None:
    assert get_args(BackboneParams.model_fields["name"].annotation) == NAMES


@every_backbone
def test_the_last_map_is_the_whole_networks(name: Any, network: nn.Module) -> None:
    backbone = Backbone(name, "repeat", 96, own_weights(name, network)).eval()
    images = torch.rand(2, 1, 96, 96)
    colours = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # ImageNet's mean and deviation in grey levels
    if name == "efficientnet_lite0":
        colours = ((127, 127, 127), (128, 128, 128))
    mean, sd = (torch.tensor(numbers).view(1, 3, 1, 1) / 255 for numbers in colours)
    with torch.no_grad():
        maps = backbone.maps(images)
        expected = last_map(name, network, (images.expand(-1, 3, -1, -1) - mean) / sd)
    torch.testing.assert_close(maps[-1], expected, rtol=1e-4, atol=1e-4 * expected.max().item())
    torch.testing.assert_close(backbone(images), maps[-1])


@every_backbone
def test_stages_halve_the_image_and_tell_their_widths(name: Any) -> None:
    backbone = Backbone(name, "repeat", 64).eval()
    with torch.no_grad():
        maps = backbone.maps(torch.rand(3, 1, 28, 28))
        two = backbone.maps(torch.rand(1, 1, 64, 64), 2)
    first = 16 if name in ("resnet18", "resnet50", "densenet121") else 32
    sides = [first, 16, 8, 4, 2]
    if name == "densenet121":
        sides = [16, 8, 4, 2, 2]
    assert [tuple(found.shape) for found in maps] == [
        (3, width, side, side) for width, side in zip(backbone.widths, sides, strict=True)
    ]
    assert len(maps) == STAGES
    assert [found.shape[1] for found in two] == backbone.widths[:2]


@every_backbone
def test_summed_colours_say_what_repeated_grey_says(name: Any, network: nn.Module) -> None:
    weights = own_weights(name, network)
    three, one = (Backbone(name, channels, 96, weights).eval() for channels in ("repeat", "sum"))
    images = torch.rand(2, 1, 96, 96)
    with torch.no_grad():
        repeated, summed = (
            next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))(backbone.prepared(images))
            for backbone in (three, one)
        )
    torch.testing.assert_close(summed[:, :, 4:-4, 4:-4], repeated[:, :, 4:-4, 4:-4], rtol=1e-4, atol=1e-5)
    assert one.prepared(images).shape[1] == 1


def test_a_depth_shown_is_what_is_computed() -> None:
    backbone = Backbone("resnet18", "repeat", 64).eval()
    backbone.stages[3] = nn.Identity()
    backbone.stages[3].forward = None  # type: ignore[assignment]
    assert len(backbone.maps(torch.rand(1, 1, 64, 64), 3)) == 3


@pytest.mark.parametrize("size", [28, 64, 100])
def test_images_are_shown_at_the_side(size: int) -> None:
    backbone = Backbone("resnet18", "repeat", 64)
    grey = torch.full((1, 1, size, size), 0.5)
    shown = backbone.prepared(grey)
    assert shown.shape == (1, 3, 64, 64)
    torch.testing.assert_close(shown[0, :, 3, 3], (0.5 - backbone.mean.flatten()) / backbone.spread.flatten())


def test_all_learned_is_in_the_state() -> None:
    first, second = (Backbone("resnet18", "sum", 64).eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 1, 30, 30)
    with torch.no_grad():
        torch.testing.assert_close(first(images), second(images))
