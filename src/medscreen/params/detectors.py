"""The roster: one class a kind of detector."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field

from medscreen.params.block import Block


class TrainingParams(Block):
    """One optimiser loop for every network: AdamW, one-cycle learning rate, best epoch on `tune` kept."""

    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    patience: Annotated[int, Field(ge=1)]


class GradientParams(Block):
    """The one-line baseline: distance of an image's mean gradient from the healthy median."""

    kind: Literal["gradient"]
    is_baseline: ClassVar[bool] = True


class AutoencoderParams(Block):
    """A convolutional autoencoder trained on healthy images, scored by the `top` share of its local residuals."""

    kind: Literal["autoencoder"]
    width: Annotated[int, Field(ge=1)]
    bottleneck: Annotated[int, Field(ge=1)]
    top: Annotated[float, Field(gt=0, le=1)]
    training: TrainingParams
    is_baseline: ClassVar[bool] = False


def _different_findings(names: list[str]) -> list[str]:
    if len({*names, "normal"}) <= len(names):
        raise ValueError(f"{names} names a finding twice, or normal, which is always one")
    return names


class CnnParams(Block):
    """A small residual network trained on both classes; with `findings`, on normal and each of them."""

    kind: Literal["cnn"]
    findings: Annotated[list[Annotated[str, Field(pattern=r"^\S(.*\S)?$")]], AfterValidator(_different_findings)]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    training: TrainingParams
    is_baseline: ClassVar[bool] = False


DetectorParams = Annotated[GradientParams | AutoencoderParams | CnnParams, Discriminator("kind")]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
