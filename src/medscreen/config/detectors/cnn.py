"""Convolutional networks trained on both classes."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from medscreen.config.detectors.classifier import ClassifierEntry, Dropout


class ResidualCnnParams(ClassifierEntry):
    """A small residual network.

    `width`: channels of its first stage. `unshuffle`: factor of the pixel unshuffle before it. `pooling`: global
    average, or average and soft maximum.
    """

    kind: Literal["cnn"]
    variant: Literal["residual"]
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
    pooling: Literal["mean", "mean_and_peak"]


class PlainCnnParams(ClassifierEntry):
    """Convolutional layers, each with max pooling by 2, and one hidden layer of `neurons`.

    `filters`: channels by layer, of which the first `layers` are used.
    """

    kind: Literal["cnn"]
    variant: Literal["plain"]
    layers: Annotated[int, Field(ge=1, le=6)]
    filters: list[Annotated[int, Field(ge=1)]]
    neurons: Annotated[int, Field(ge=1)]
    conv_dropout: Dropout
    dense_dropout: Dropout

    @model_validator(mode="after")
    def _filters_of_every_layer(self) -> "PlainCnnParams":
        if len(self.filters) < self.layers:
            raise ValueError(f"filters: {self.filters} has fewer entries than layers: {self.layers}")
        return self


CnnParams = Annotated[ResidualCnnParams | PlainCnnParams, Discriminator("variant")]
