"""What the entries of the roster have in common."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from medscreen.params.block import Block


class DetectorEntry(Block):
    """An entry of the roster; `is_baseline`: it is what the others have to beat, and is never promoted."""

    is_baseline: ClassVar[bool] = False

    @property
    def epochs(self) -> int:
        """How many it trains at most, 0 if it has no optimiser loop."""
        return 0

    @property
    def files(self) -> tuple[Path, ...]:
        """What it reads besides the images: with other content, it is another training."""
        return ()


class TrainingParams(Block):
    """One optimiser loop for every network: AdamW, one-cycle learning rate, best epoch on `tune` kept.

    `average`: by how much an exponential moving average of the weights decays a step; 0 keeps the weights themselves.
    """

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    average: Annotated[float, Field(ge=0, lt=1)]
    patience: Annotated[int, Field(ge=1)]


class TrainedEntry(DetectorEntry):
    """An entry whose network goes through the optimiser loop."""

    training: TrainingParams

    @property
    def epochs(self) -> int:
        """How many it trains at most."""
        return self.training.epochs


class BackboneEntry(DetectorEntry):
    """An entry that stands on a network of others.

    `weights`: `pretrained` on ImageNet, `none`, or a file; `channels`: the grey image `repeat`ed three times, or the
    first layer's weights `sum`med over the colours; `side`: pixels at which the images are shown to it.
    """

    backbone: Literal["resnet18", "resnet50", "densenet121", "vgg19", "efficientnet_lite0"]
    weights: Annotated[str, Field(min_length=1)]
    channels: Literal["repeat", "sum"]
    side: Annotated[int, Field(ge=32)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of its weights, if they come from one."""
        return () if self.weights in ("pretrained", "none") else (Path(self.weights).expanduser(),)
