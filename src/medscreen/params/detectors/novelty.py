"""Detectors that measure how far an image lies from the healthy ones."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from medscreen.params.block import Block, Share
from medscreen.params.detectors.backbones import BackboneParams, Depths
from medscreen.params.detectors.entry import DetectorEntry


class PyramidParams(Block):
    """Log energies of the `levels` of a Laplacian pyramid in `grid` x `grid` regions."""

    kind: Literal["pyramid"]
    levels: Annotated[int, Field(ge=1, le=8)]
    grid: Annotated[int, Field(ge=1, le=32)]


class HogParams(Block):
    """Histograms of oriented gradients in `cells` x `cells` cells, normalised in blocks of `block` x `block`.

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
    """Distance from the healthy mean in units of the healthy covariance, shrunk as Ledoit and Wolf do."""

    kind: Literal["mahalanobis"]


class NearestParams(Block):
    """Mean distance to the `neighbours` nearest of at most `most` healthy images, every feature scaled alike."""

    kind: Literal["knn"]
    neighbours: Annotated[int, Field(ge=1, le=100)]
    most: Annotated[int, Field(ge=100, le=20000)]


FeaturesParams = Annotated[PyramidParams | HogParams, Discriminator("kind")]
DistanceParams = Annotated[MahalanobisParams | NearestParams, Discriminator("kind")]


class NoveltyParams(DetectorEntry):
    """Features of the healthy images that nobody had to learn, and a distance from them."""

    kind: Literal["novelty"]
    features: FeaturesParams
    distance: DistanceParams


class PatchesParams(DetectorEntry):
    """A frozen backbone's maps at `depths`, brought to `grid` x `grid` places and laid upon each other."""

    backbone: BackboneParams
    depths: Depths
    grid: Annotated[int, Field(ge=1, le=28)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the backbone's weights, if they come from one."""
        return self.backbone.files


class PadimParams(PatchesParams):
    """A Gaussian of the healthy images at each place, over `features` of the channels, drawn at random.

    The score is the mean distance of the `top` share of the places, the worst ones. The Gaussians hold
    grid^2 x features^2 numbers.
    """

    kind: Literal["padim"]
    features: Annotated[int, Field(ge=1, le=128)]
    top: Share


class PatchcoreParams(PatchesParams):
    """A bank of healthy patches: of all (or a random part of them, lest `most` be exceeded) a covering `share`.

    Each patch is averaged over `neighbourhood` x `neighbourhood` pixels of a map; the paper has 3. The score is the
    mean distance of the `top` share of the patches, the worst ones, from their nearest in the bank, which holds at most
    most x channels numbers.
    """

    kind: Literal["patchcore"]
    neighbourhood: Literal[1, 3, 5]
    share: Share
    most: Annotated[int, Field(ge=1, le=4000)]
    top: Share
