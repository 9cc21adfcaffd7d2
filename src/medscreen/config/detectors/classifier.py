"""Settings of networks trained on both classes."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block
from medscreen.config.detectors.entry import TrainedEntry
from medscreen.config.detectors.findings import Findings

Strength = Annotated[float, Field(ge=0, le=2)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class AugmentParams(Block):
    """Strength of random augmentation: 1 for the limits in `detectors/shared/augmentation.py`, 0 for none."""

    pose: Strength
    exposure: Strength
    grain: Strength


class RecipeParams(Block):
    """Training recipe of a classifier.

    `focal_gamma`: exponent of the focal loss; without effect with `loss: cross_entropy`. `mixup`: both parameters of
    the Beta distribution of mixup, 0 for none. `balance`: `weights` weights the loss by class, `sampler` draws the
    classes equally often, `oversample_augmented` adds a mirrored and an upside-down copy of each image of the rarest
    class, `none` does nothing. `tta`: test-time augmentation; logits are averaged over the image (1), its mirror image
    (2), four shifts (5) or all of these (10).
    """

    loss: Literal["cross_entropy", "focal"]
    focal_gamma: Annotated[float, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, le=0.5)]
    mixup: Annotated[float, Field(ge=0)]
    balance: Literal["weights", "sampler", "oversample_augmented", "none"]
    augment: AugmentParams
    tta: Literal[1, 2, 5, 10]


class ClassifierEntry(TrainedEntry):
    """A network trained on both classes; with `findings`, on normal and each of them."""

    findings: Findings
    recipe: RecipeParams
