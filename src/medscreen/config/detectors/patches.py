"""PaDiM and PatchCore: patches of a frozen backbone's feature maps."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from medscreen.config.base import Share
from medscreen.config.detectors.backbone import BackboneParams, Depths
from medscreen.config.detectors.entry import DetectorEntry


class PatchesEntry(DetectorEntry):
    """Feature maps of a frozen backbone at `depths`, resized to `grid` x `grid` and concatenated."""

    backbone: BackboneParams
    depths: Depths
    grid: Annotated[int, Field(ge=1, le=28)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The backbone's checkpoint file, if it has one."""
        return self.backbone.files


class PadimParams(PatchesEntry):
    """PaDiM: a Gaussian of the healthy patch features at each position.

    `depths`: stages of the backbone, whose maps are resized to `grid` x `grid` and concatenated. `features`: number of
    channels, drawn at random. The score is the mean of the largest Mahalanobis distances: the fraction `top_fraction`
    of all positions. The Gaussians have grid^2 x features^2 parameters.
    """

    kind: Literal["patches"]
    variant: Literal["padim"]
    features: Annotated[int, Field(ge=1, le=128)]
    top_fraction: Share


class PatchcoreParams(PatchesEntry):
    """PatchCore: distance from a memory bank of healthy patch features.

    `depths`: stages of the backbone, whose maps are resized to `grid` x `grid` and concatenated. `neighborhood`: side
    of the average pooling of the maps; 3 in the paper. `share`: share of the patches in the coreset; `most`: their
    maximum number. The score is the mean of the largest distances: the fraction `top_fraction` of all patches.
    """

    kind: Literal["patches"]
    variant: Literal["patchcore"]
    neighborhood: Literal[1, 3, 5]
    share: Share
    most: Annotated[int, Field(ge=1, le=4000)]
    top_fraction: Share


PatchesParams = Annotated[PadimParams | PatchcoreParams, Discriminator("variant")]
