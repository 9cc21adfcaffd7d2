"""Detectors that learn from both classes."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.params.detectors.entry import TrainedEntry
from medscreen.params.detectors.findings import Findings


class CnnParams(TrainedEntry):
    """A small residual network trained on both classes; with `findings`, on normal and each of them."""

    kind: Literal["cnn"]
    findings: Findings
    width: Annotated[int, Field(ge=1)]
    unshuffle: Annotated[int, Field(ge=1, le=8)]
