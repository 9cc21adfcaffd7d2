"""Settings of novelty detectors, whose score is the distance from the healthy images."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from medscreen.config.base import Block
from medscreen.config.detectors.entry import DetectorEntry


class PyramidParams(Block):
    """Log energies of the `levels` of a Laplacian pyramid in `grid` x `grid` regions."""

    kind: Literal["pyramid"]
    levels: Annotated[int, Field(ge=1, le=8)]
    grid: Annotated[int, Field(ge=1, le=32)]


class HogParams(Block):
    """Histograms of oriented gradients in `cells` x `cells` cells, normalized in blocks of `block` x `block`.

    `signed`: directions over 360 degrees instead of 180.
    """

    kind: Literal["hog"]
    cells: Annotated[int, Field(ge=1, le=16)]
    bins: Annotated[int, Field(ge=2, le=36)]
    block: Annotated[int, Field(ge=1, le=4)]
    signed: bool

    @model_validator(mode="after")
    def _blocks_fit(self) -> "HogParams":
        if self.block > self.cells:
            raise ValueError(f"block = {self.block} is more than cells = {self.cells}")
        return self


class MahalanobisParams(Block):
    """Mahalanobis distance from the healthy mean; covariance by Ledoit-Wolf shrinkage."""

    kind: Literal["mahalanobis"]


class NearestParams(Block):
    """Mean distance to the `neighbors` nearest of at most `most` healthy images, with standardized features."""

    kind: Literal["knn"]
    neighbors: Annotated[int, Field(ge=1, le=100)]
    most: Annotated[int, Field(ge=100, le=20000)]


FeaturesParams = Annotated[PyramidParams | HogParams, Discriminator("kind")]
DistanceParams = Annotated[MahalanobisParams | NearestParams, Discriminator("kind")]


class NoveltyParams(DetectorEntry):
    """Hand-crafted features, and their distance from those of the healthy images."""

    kind: Literal["novelty"]
    features: FeaturesParams
    distance: DistanceParams
