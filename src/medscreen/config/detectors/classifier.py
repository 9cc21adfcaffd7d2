"""Settings of the detectors trained on both classes."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block
from medscreen.config.detectors.entry import TrainedEntry
from medscreen.config.detectors.findings import Findings

Strength = Annotated[float, Field(ge=0, le=2)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class AugmentParams(Block):
    """Strength of the training augmentation: 1 for the limits that `augmentation` states, 0 for none."""

    pose: Strength
    exposure: Strength
    grain: Strength


class RecipeParams(Block):
    """Training recipe of a classifier.

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
