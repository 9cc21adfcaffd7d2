"""Settings of pretrained backbones."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from medscreen.config.base import Block


class BackboneParams(Block):
    """A pretrained network.

    `weights`: `pretrained` on ImageNet, `none`, or a checkpoint file. `channels`: `repeat` copies the gray channel
    three times, `sum` adds up the first layer's weights over the colors. `side`: size in pixels that images are
    resized to.
    """

    name: Literal["resnet18", "resnet50", "densenet121", "vgg19", "efficientnet_lite0"]
    weights: Annotated[str, Field(min_length=1)]
    channels: Literal["repeat", "sum"]
    side: Annotated[int, Field(ge=32, le=1024)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The checkpoint file, if `weights` names one."""
        return () if self.weights in ("pretrained", "none") else (Path(self.weights).expanduser(),)


def _different(depths: list[int]) -> list[int]:
    if len(set(depths)) < len(depths):
        raise ValueError(f"{depths} lists a depth twice")
    return depths


Depths = Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(min_length=1), AfterValidator(_different)]
"""Stages of a backbone, from 1."""
