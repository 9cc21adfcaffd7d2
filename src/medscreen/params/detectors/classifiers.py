"""Detectors that learn from both classes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medscreen.params.block import Block
from medscreen.params.detectors.backbones import BackboneParams
from medscreen.params.detectors.entry import TrainedEntry
from medscreen.params.detectors.findings import Findings

Strength = Annotated[float, Field(ge=0, le=2)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class AugmentParams(Block):
    """How strongly films are changed while training: 1 within the limits that augmentation states, 0 not at all."""

    pose: Strength
    exposure: Strength
    grain: Strength


class RecipeParams(Block):
    """How every classifier learns.

    `focal_gamma`: how much less images count that are classified well already; with `loss: cross_entropy` without
    effect. `mixup`: both parameters of the Beta distribution that pairs of images are mixed by, 0 none. `balance`: the
    classes weigh the same in the loss (`weights`), are drawn equally often (`sampler`), the rarest one is there three
    times, mirrored and upside down (`triple`), or nothing is done. `views`: over how many views of an image its logits
    are averaged: itself, with its mirror image (2), with four shifts (5), both (10).
    """

    loss: Literal["cross_entropy", "focal"]
    focal_gamma: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, le=0.5)]
    mixup: Annotated[float, Field(ge=0)]
    balance: Literal["weights", "sampler", "triple", "none"]
    augment: AugmentParams
    views: Literal[1, 2, 5, 10]


class ClassifierEntry(TrainedEntry):
    """A network trained on both classes; with `findings`, on normal and each of them."""

    findings: Findings
    recipe: RecipeParams


class CnnParams(ClassifierEntry):
    """A small residual network; its features are averaged over the image, or also taken where they are strongest."""

    kind: Literal["cnn"]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    pooling: Literal["mean", "mean_and_peak"]


class TunableCnnParams(ClassifierEntry):
    """Convolutions, each halving the image, and one hidden layer; of `filters` the first `layers` count."""

    kind: Literal["tunable_cnn"]
    layers: Annotated[int, Field(ge=1, le=6)]
    filters: list[Annotated[int, Field(ge=1)]]
    neurons: Annotated[int, Field(ge=1)]
    conv_dropout: Dropout
    dense_dropout: Dropout

    @model_validator(mode="after")
    def _filters_of_every_layer(self) -> "TunableCnnParams":
        if len(self.filters) < self.layers:
            raise ValueError(f"filters: {self.filters} are fewer than the {self.layers} layers")
        return self


class TransferParams(ClassifierEntry):
    """A network of others with a head of its own.

    `frozen`: how many of its five stages stay as they are, the first ones; `rate_decay`: each stage learns at that
    share of the next one's learning rate, the last one of the head's.
    """

    kind: Literal["transfer"]
    backbone: BackboneParams
    frozen: Annotated[int, Field(ge=0, le=5)]
    rate_decay: Annotated[float, Field(gt=0, le=1)]
    dropout: Dropout

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the backbone's weights, if they come from one."""
        return self.backbone.files
