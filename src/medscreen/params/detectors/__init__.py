"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator, Field

from medscreen.params.detectors.baselines import StatisticParams
from medscreen.params.detectors.classifiers import (
    AugmentParams,
    ClassifierEntry,
    CnnParams,
    RecipeParams,
    TransferParams,
    TunableCnnParams,
)
from medscreen.params.detectors.entry import TrainingParams
from medscreen.params.detectors.reconstruction import AutoencoderParams, LayersParams, ResidualScore, VaeParams

__all__ = [
    "AugmentParams",
    "AutoencoderParams",
    "ClassifierEntry",
    "CnnParams",
    "DetectorName",
    "DetectorParams",
    "LayersParams",
    "RecipeParams",
    "ResidualScore",
    "StatisticParams",
    "TrainingParams",
    "TransferParams",
    "TunableCnnParams",
    "VaeParams",
]

DetectorParams = Annotated[
    StatisticParams | AutoencoderParams | VaeParams | CnnParams | TunableCnnParams | TransferParams,
    Discriminator("kind"),
]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
