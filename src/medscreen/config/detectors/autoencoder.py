"""Autoencoders trained on healthy images."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from medscreen.config.base import Block, Share
from medscreen.config.detectors.entry import TrainedEntry

ResidualScore = Literal["mse", "l1", "bce", "ssim", "gradient", "local"]

_Channels = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=6)]


def _of_an_autoencoder(score: object) -> object:
    if score == "elbo":
        raise ValueError("score: elbo needs variant: variational; a plain autoencoder has no distribution of codes")
    return score


class LayersParams(Block):
    """Encoder and decoder of an autoencoder.

    `down`: channels of the encoder's layers; `strides`: their strides. `downsampling`: strided convolution, or
    convolution and max pooling. `up`: channels of the decoder's layers. `upsampling`: nearest-neighbor upsampling and
    convolution, or transposed convolution with kernel size 2 or 3. `output_kernel`: kernel size of the last
    convolution; null: none. `norm`: batch normalization. `output`: last activation.
    """

    down: _Channels
    strides: list[Literal[1, 2]]
    downsampling: Literal["convolution", "pooling"]
    up: _Channels
    upsampling: Literal["nearest", "transposed2", "transposed3"]
    output_kernel: Literal[1, 3, 5] | None
    activation: Literal["relu", "silu"]
    norm: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]
    output: Literal["sigmoid", "tanh"]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.strides) != len(self.down):
            raise ValueError(f"down has {len(self.down)} layers and strides {len(self.strides)}; give each layer one")
        if self.output_kernel is None and self.up[-1] != 1:
            raise ValueError("without output_kernel the last number of up has to be 1, the channel of the image")
        return self


class ReconstructionEntry(TrainedEntry):
    """Settings of both autoencoders: see `PlainAutoencoderParams`."""

    layers: LayersParams
    bottleneck: Annotated[int, Field(ge=1)] | None
    pose: Annotated[float, Field(ge=0, le=2)]
    noise: Annotated[float, Field(ge=0, le=2)]
    standardize: bool
    top_fraction: Share


class PlainAutoencoderParams(ReconstructionEntry):
    """A convolutional autoencoder, trained on healthy images by mean squared error.

    `bottleneck`: size of the code; null: the encoder's last feature map. `pose`: strength of random rotation, shift
    and scaling of the training images, 0 for none. `noise`: standard deviation of the noise added to the input but not
    to the target, on the scale 0 to 1. `standardize`: every image gets the same mean and contrast. `score`: residual
    between image and reconstruction, averaged over the share `top_fraction` of positions with the largest residuals.
    """

    kind: Literal["autoencoder"]
    variant: Literal["plain"]
    score: Annotated[ResidualScore, BeforeValidator(_of_an_autoencoder)]


class VaeParams(ReconstructionEntry):
    """A variational autoencoder, trained on healthy images by cross-entropy + `beta` x KL divergence.

    Keys as for `variant: plain`; `score: elbo`, the negative evidence lower bound of the whole image, needs
    `top_fraction` of 1.
    """

    kind: Literal["autoencoder"]
    variant: Literal["variational"]
    score: ResidualScore | Literal["elbo"]
    beta: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _elbo_is_of_all(self) -> Self:
        if self.score == "elbo" and self.top_fraction != 1.0:
            raise ValueError("score: elbo is computed on the whole image; set top_fraction to 1.0")
        return self


AutoencoderParams = Annotated[PlainAutoencoderParams | VaeParams, Discriminator("variant")]
