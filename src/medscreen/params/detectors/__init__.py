"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator, Field

from medscreen.params.detectors.baselines import GradientParams
from medscreen.params.detectors.classifiers import CnnParams
from medscreen.params.detectors.entry import TrainingParams
from medscreen.params.detectors.reconstruction import AutoencoderParams

__all__ = ["AutoencoderParams", "CnnParams", "DetectorName", "DetectorParams", "GradientParams", "TrainingParams"]

DetectorParams = Annotated[GradientParams | AutoencoderParams | CnnParams, Discriminator("kind")]
DetectorName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
