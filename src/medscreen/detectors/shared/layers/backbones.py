"""Public architectures split into five stages: feature maps of gray images at five depths."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medscreen.detectors.shared.layers.places import Places

BackboneName = Literal["resnet18", "resnet50", "densenet121", "vgg19", "efficientnet_lite0"]
Channels = Literal["repeat", "sum"]
STAGES = 5
"""Number of stages of every backbone."""

# mean and standard deviation of each color in the training of the weights
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE = ((127 / 255,) * 3, (128 / 255,) * 3)


class Backbone(nn.Module):
    """Stages of a network on gray images (N, 1, S, S) in 0..1, resized to `side` x `side` pixels.

    `channels`: `repeat` copies gray to three channels; `sum` adds the first layer's weights over the colors, at a third
    less cost and with differences at the border only. `weights`: see pretrained.read_weights; None: random weights.
    `widths`: output channels of each stage.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, name: BackboneName, channels: Channels, side: int, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.name, self.side = name, side
        make, cut = _BUILDERS[name]
        network = make()
        if weights is not None:
            network.load_state_dict(weights)
        self.stages = nn.ModuleList(cut(network))
        mean, spread = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (_LITE if "lite" in name else _IMAGENET))
        self.widths = _widths(self.stages, 3)
        if channels == "sum":
            mean, spread = _sum_colors(self.stages, mean, spread)
        self.register_buffer("mean", mean)
        self.register_buffer("spread", spread)

    def prepared(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, 1 or 3, side, side): resized and normalized input of the first stage."""
        if images.shape[-1] > self.side:
            images = F.adaptive_avg_pool2d(images, self.side)
        elif images.shape[-1] < self.side:
            images = F.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return (images - self.mean) / self.spread

    def maps(self, images: Tensor, depth: int = STAGES) -> list[Tensor]:
        """(N, 1, S, S) -> feature maps (N, C, h, w) of the first `depth` stages."""
        features, found = self.prepared(images), []
        for stage in list(self.stages)[:depth]:
            features = stage(features)
            found.append(features)
        return found

    def places(self, size: int, depth: int = STAGES) -> Places:
        """Receptive-field centers of the feature map of stage `depth` (from 1), in an image of `size` pixels."""
        first, step = _PLACES[self.name][depth - 1]
        scale = size / self.side
        return Places((first + 0.5) * scale - 0.5, step * scale)

    def keep(self, depth: int) -> None:
        """Removes the stages after the first `depth`, so that unused weights are not stored."""
        del self.stages[depth:], self.widths[depth:]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> last feature map (N, C, h, w)."""
        return self.maps(images)[-1]


def tensors(name: BackboneName) -> dict[str, Tensor]:
    """State dict of the network with meta tensors: names and shapes without data."""
    with torch.device("meta"):
        return dict(_BUILDERS[name][0]().state_dict())


def _sum_colors(stages: nn.Module, mean: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Converts the first convolution to one input channel by summing its weights over the colors.

    Differences of mean and spread (1, 3, 1, 1) between colors move into weights and bias. Returns mean and spread of
    the gray channel.
    """
    first = next(module for module in stages.modules() if isinstance(module, nn.Conv2d))
    gray, width = mean.mean(1, keepdim=True), spread.mean(1, keepdim=True)
    colors = first.weight.detach() / spread
    offset = (colors * (gray - mean)).sum((1, 2, 3))
    first.weight = nn.Parameter((colors * width).sum(1, keepdim=True))
    first.bias = nn.Parameter(offset if first.bias is None else first.bias.detach() + offset)
    first.in_channels = 1
    return gray, width


def _widths(stages: nn.ModuleList, channels: int) -> list[int]:
    features, widths = torch.zeros(1, channels, 64, 64), []
    with torch.no_grad():
        for stage in stages:
            features = stage.eval()(features)
            widths.append(features.shape[1])
    return widths


def _resnet(name: str) -> nn.Module:
    import torchvision.models

    network: nn.Module = getattr(torchvision.models, name)()
    network.fc = nn.Identity()
    return network


def _densenet121() -> nn.Module:
    import torchvision.models

    parts: nn.Module = torchvision.models.densenet121().features
    return parts


def _vgg19() -> nn.Module:
    from torchvision.models.vgg import cfgs, make_layers

    # torchvision's whole VGG-19 would initialize 120 million unused weights
    layers: nn.Module = make_layers(cfgs["E"])
    return layers


def _efficientnet_lite0() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network._fc = nn.Identity()
    return network


def _cut_resnet(network: Any) -> list[nn.Module]:
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    return [stem, network.layer1, network.layer2, network.layer3, network.layer4]


def _cut_densenet(parts: Any) -> list[nn.Module]:
    stem = nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0)
    pairs = [(parts.get_submodule(f"denseblock{i}"), parts.get_submodule(f"transition{i}")) for i in (1, 2, 3)]
    return [stem, *(nn.Sequential(*pair) for pair in pairs), nn.Sequential(parts.denseblock4, parts.norm5, nn.ReLU())]


def _cut_vgg(layers: Any) -> list[nn.Module]:
    ends = [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
    return [nn.Sequential(*layers[start:end]) for start, end in itertools.pairwise([0, *ends])]


def _cut_efficientnet(network: Any) -> list[nn.Module]:
    blocks = list(network._blocks)
    stem = nn.Sequential(network._conv_stem, network._bn0, network._swish, blocks[0])
    head = nn.Sequential(*blocks[11:], network._conv_head, network._bn1, network._swish)
    return [stem, nn.Sequential(*blocks[1:3]), nn.Sequential(*blocks[3:5]), nn.Sequential(*blocks[5:11]), head]


# center of the first position and stride, in pixels of the resized image; EfficientNet pads at the bottom right only
_RESNET_PLACES = [(0, 4), (0, 4), (0, 8), (0, 16), (0, 32)]
_PLACES: Mapping[BackboneName, Sequence[tuple[float, float]]] = {
    "resnet18": _RESNET_PLACES,
    "resnet50": _RESNET_PLACES,
    "densenet121": [(0, 4), (2, 8), (6, 16), (14, 32), (14, 32)],
    "vgg19": [(0.5, 2), (1.5, 4), (3.5, 8), (7.5, 16), (15.5, 32)],
    "efficientnet_lite0": [(1, 2), (3, 4), (7, 8), (15, 16), (31, 32)],
}
_BUILDERS: Mapping[BackboneName, tuple[Callable[[], nn.Module], Callable[[Any], list[nn.Module]]]] = {
    "resnet18": (lambda: _resnet("resnet18"), _cut_resnet),
    "resnet50": (lambda: _resnet("resnet50"), _cut_resnet),
    "densenet121": (_densenet121, _cut_densenet),
    "vgg19": (_vgg19, _cut_vgg),
    "efficientnet_lite0": (_efficientnet_lite0, _cut_efficientnet),
}
