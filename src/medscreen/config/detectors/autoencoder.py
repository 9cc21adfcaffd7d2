"""Autoencoders trained on healthy images."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from medscreen.config.base import Block, Share
from medscreen.config.detectors.entry import TrainedEntry

ResidualScore = Literal["mse", "l1", "bce", "ssim", "gradient", "local"]

_Channels = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=6)]


def _of_an_autoencoder(score: object) -> object:
    if score == "elbo":
        raise ValueError("elbo needs the distribution of codes of a vae; an autoencoder has none")
    return score


class LayersParams(Block):
    """Encoder and decoder of an autoencoder; see `detectors.autoencoder.encoder_decoder.Layers`."""

    down: _Channels
    strides: list[Literal[1, 2]]
    halving: Literal["convolution", "pooling"]
    up: _Channels
    doubling: Literal["nearest", "transposed2", "transposed3"]
    paint: Literal[1, 3, 5] | None
    activation: Literal["relu", "silu"]
    norm: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    output: Literal["sigmoid", "tanh"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.strides) != len(self.down):
            raise ValueError(f"down has {len(self.down)} steps and strides {len(self.strides)}; give each step one")
        if self.paint is None and self.up[-1] != 1:
            raise ValueError("without paint the last number of up has to be 1, the channel of the image")
        return self


class ReconstructionEntry(TrainedEntry):
    """Autoencoder with a code of `bottleneck` numbers, or with the encoder's last map as code where that is null.

    `pose`: how strongly the images that it learns from are turned, moved and scaled; 0: not at all. `noise`: standard
    deviation of the noise over them, in greys of 0 to 1, which it has not to redraw. `standardise`: it
    sees each image at the same mean and contrast. The score is the mean of the residual `score` over the `top` share of
    places where it is largest.
    """

    layers: LayersParams
    bottleneck: Annotated[int, Field(ge=1)] | None
    pose: Annotated[float, Field(ge=0, le=2)]
    noise: Annotated[float, Field(ge=0, le=2)]
    standardise: bool
    top: Share


class PlainAutoencoderParams(ReconstructionEntry):
    """A convolutional autoencoder trained on healthy images to the least squared error."""

    kind: Literal["autoencoder"]
    variant: Literal["plain"]
    score: Annotated[ResidualScore, BeforeValidator(_of_an_autoencoder)]


class VaeParams(ReconstructionEntry):
    """A variational autoencoder trained on healthy images to the least cross-entropy plus `beta` x divergence."""

    kind: Literal["autoencoder"]
    variant: Literal["variational"]
    score: ResidualScore | Literal["elbo"]
    beta: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _elbo_is_of_all(self) -> Self:
        if self.score == "elbo" and self.top != 1.0:
            raise ValueError("elbo is one number of the whole image; set top to 1.0")
        return self


AutoencoderParams = Annotated[PlainAutoencoderParams | VaeParams, Discriminator("variant")]
