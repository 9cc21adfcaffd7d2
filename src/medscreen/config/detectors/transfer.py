"""Pretrained backbones fine-tuned on both classes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.detectors.backbone import BackboneParams
from medscreen.config.detectors.classifier import ClassifierEntry, Dropout


class TransferParams(ClassifierEntry):
    """A network of others with a head of its own.

    `frozen`: how many of its five stages stay as they are, the first ones; `rate_decay`: each stage learns at that
    share of the next one's learning rate, the last one of the head's.
    """

    kind: Literal["transfer"]
    backbone: BackboneParams
    frozen: Annotated[int, Field(ge=0, le=5)]
    rate_decay: Annotated[float, Field(gt=0, le=1)]
    dropout: Dropout

    @property
    def files(self) -> tuple[Path, ...]:
        """The file of the backbone's weights, if they come from one."""
        return self.backbone.files
