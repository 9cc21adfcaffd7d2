"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator, Field

from medscreen.params.detectors.baselines import GradientParams
from medscreen.params.detectors.classifiers import (
    AugmentParams,
    ClassifierEntry,
    CnnParams,
    RecipeParams,
    TransferParams,
    TunableCnnParams,
)
from medscreen.params.detectors.entry import TrainingParams
from medscreen.params.detectors.reconstruction import AutoencoderParams

__all__ = [
    "AugmentParams",
    "AutoencoderParams",
    "ClassifierEntry",
    "CnnParams",
    "DetectorName",
    "DetectorParams",
    "GradientParams",
    "RecipeParams",
    "TrainingParams",
    "TransferParams",
    "TunableCnnParams",
]

DetectorParams = Annotated[
    GradientParams | AutoencoderParams | CnnParams | TunableCnnParams | TransferParams,
    Discriminator("kind"),
]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
