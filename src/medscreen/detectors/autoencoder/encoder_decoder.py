"""Convolutional encoder and decoder of the autoencoders."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Layers:
    """Layers of an encoder and its decoder.

    - `down`, `strides`: output channels and stride (1 or 2) of each encoder step.
    - `downsampling`: by a strided convolution, or by 2 x 2 max pooling after the convolution.
    - `up`: output channels of each decoder step; every step doubles the side.
    - `upsampling`: nearest-neighbor upsampling and a 3 x 3 convolution, or a 2 x 2 or 3 x 3 transposed convolution.
    - `output_kernel`: kernel size of the output convolution; None: the last step outputs the image.
    - `dropout`: probability of dropout before the encoder's last step.
    - `output`: output activation; with tanh, images are rescaled to -1..1 inside the network.
    """

    down: Sequence[int]
    strides: Sequence[int]
    downsampling: Literal["convolution", "pooling"]
    up: Sequence[int]
    upsampling: Literal["nearest", "transposed2", "transposed3"]
    output_kernel: int | None
    activation: Literal["relu", "silu"]
    norm: bool
    dropout: float
    output: Literal["sigmoid", "tanh"]

    def activated(self, *layers: nn.Module, channels: int) -> nn.Sequential:
        """The layers followed by batch norm, if any, and the activation."""
        norm = [nn.BatchNorm2d(channels)] if self.norm else []
        return nn.Sequential(*layers, *norm, nn.ReLU() if self.activation == "relu" else nn.SiLU())


class Encoder(nn.Sequential):
    """Encoder: images (N, 1, S, S) in 0..1 -> feature map (N, C, s, s)."""

    def __init__(self, layers: Layers) -> None:
        steps: list[nn.Module] = [_Rescaling(2.0, -1.0)] if layers.output == "tanh" else []
        for i, (inputs, outputs) in enumerate(itertools.pairwise([1, *layers.down])):
            if layers.dropout and i == len(layers.down) - 1:
                steps.append(nn.Dropout(layers.dropout))
            pooled = layers.downsampling == "pooling"
            stride = 1 if pooled else layers.strides[i]
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not layers.norm)
            steps.append(layers.activated(convolution, channels=outputs))
            if pooled:
                steps.append(nn.MaxPool2d(2, layers.strides[i], ceil_mode=True))
        super().__init__(*steps)

    def smallest(self, size: int) -> tuple[int, int, int]:
        """Shape (C, s, s) of the feature map of an image of `size` x `size` pixels."""
        was_training = self.training
        with torch.no_grad():
            _, channels, height, width = self.eval()(torch.zeros(1, 1, size, size)).shape
        self.train(was_training)
        return channels, height, width


class Decoder(nn.Module):
    """Decoder: feature map (N, C, s, s) -> images (N, 1, size, size) in 0..1."""

    def __init__(self, layers: Layers, inputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        upsamplings = [_upsampling(layers, a, b) for a, b in itertools.pairwise([inputs, *layers.up])]
        steps: list[nn.Module] = [*upsamplings]
        if layers.output_kernel is None:
            steps[-1] = upsamplings[-1][0]  # without norm and activation
        else:
            steps.append(nn.Conv2d(layers.up[-1], 1, layers.output_kernel, padding=layers.output_kernel // 2))
        self.steps = nn.Sequential(*steps)
        self.output = nn.Sequential(nn.Tanh(), _Rescaling(0.5, 0.5)) if layers.output == "tanh" else nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, s, s) -> (N, 1, size, size)."""
        drawn = self.steps(features)
        if drawn.shape[2] != self.size:  # the side is not divisible by the total stride
            drawn = F.interpolate(drawn, size=(self.size, self.size), mode="bilinear")
        images: Tensor = self.output(drawn)
        return images


class _Rescaling(nn.Module):
    def __init__(self, gain: float, shift: float) -> None:
        super().__init__()
        self.gain, self.shift = gain, shift

    def forward(self, images: Tensor) -> Tensor:
        return self.gain * images + self.shift


def _upsampling(layers: Layers, inputs: int, outputs: int) -> nn.Sequential:
    bias = not layers.norm
    if layers.upsampling == "nearest":
        repeated = nn.Upsample(scale_factor=2, mode="nearest")
        step: nn.Module = nn.Sequential(repeated, nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias))
    elif layers.upsampling == "transposed2":
        step = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=bias)
    else:
        step = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias)
    return layers.activated(step, channels=outputs)
