"""Settings of pretrained backbones fine-tuned on both classes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.classifier import ClassifierEntry, Dropout


class TransferParams(ClassifierEntry):
    """A pretrained network, fine-tuned, with a new head.

    `frozen`: number of its five stages, from the first, whose weights stay fixed. `rate_decay`: learning rate of a
    stage as a share of the next one's; the last stage's as a share of the head's.
    """

    kind: Literal["transfer"]
    backbone: BackboneParams
    frozen: Annotated[int, Field(ge=0, le=5)]
    rate_decay: Annotated[float, Field(gt=0, le=1)]
    dropout: Dropout

    @property
    def files(self) -> tuple[Path, ...]:
        """The backbone's checkpoint file, if it has one."""
        return self.backbone.files
