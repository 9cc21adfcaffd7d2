"""PaDiM and PatchCore: patches of a frozen backbone's feature maps."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from medscreen.config.base import Share
from medscreen.config.detectors.backbone import BackboneParams, Depths
from medscreen.config.detectors.entry import DetectorEntry


class PatchesEntry(DetectorEntry):
    """A frozen backbone's maps at `depths`, brought to `grid` x `grid` places and laid upon each other."""

    backbone: BackboneParams
    depths: Depths
    grid: Annotated[int, Field(ge=1, le=28)]

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the backbone's weights, if they come from one."""
        return self.backbone.files


class PadimParams(PatchesEntry):
    """A Gaussian of the healthy images at each place, over `features` of the channels, drawn at random.

    The score is the mean distance of the `top` share of the places, the worst ones. The Gaussians hold
    grid^2 x features^2 numbers.
    """

    kind: Literal["patches"]
    variant: Literal["padim"]
    features: Annotated[int, Field(ge=1, le=128)]
    top: Share


class PatchcoreParams(PatchesEntry):
    """A bank of healthy patches: of all (or a random part of them, lest `most` be exceeded) a covering `share`.

    Each patch is averaged over `neighbourhood` x `neighbourhood` pixels of a map; the paper has 3. The score is the
    mean distance of the `top` share of the patches, the worst ones, from their nearest in the bank, which holds at most
    most x channels numbers.
    """

    kind: Literal["patches"]
    variant: Literal["patchcore"]
    neighbourhood: Literal[1, 3, 5]
    share: Share
    most: Annotated[int, Field(ge=1, le=4000)]
    top: Share


PatchesParams = Annotated[PadimParams | PatchcoreParams, Discriminator("variant")]
