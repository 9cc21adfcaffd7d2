"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator, Field

from medscreen.params.detectors.baselines import GradientParams
from medscreen.params.detectors.classifiers import CnnParams
from medscreen.params.detectors.entry import TrainingParams
from medscreen.params.detectors.novelty import (
    DistanceParams,
    FeaturesParams,
    FrozenBackboneParams,
    HogParams,
    MahalanobisParams,
    NearestParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
    PatchesParams,
    PyramidParams,
)
from medscreen.params.detectors.reconstruction import AutoencoderParams

__all__ = [
    "AutoencoderParams",
    "CnnParams",
    "DetectorName",
    "DetectorParams",
    "DistanceParams",
    "FeaturesParams",
    "FrozenBackboneParams",
    "GradientParams",
    "HogParams",
    "MahalanobisParams",
    "NearestParams",
    "NoveltyParams",
    "PadimParams",
    "PatchcoreParams",
    "PatchesParams",
    "PyramidParams",
    "TrainingParams",
]

DetectorParams = Annotated[
    GradientParams | AutoencoderParams | CnnParams | NoveltyParams | PadimParams | PatchcoreParams,
    Discriminator("kind"),
]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
