"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator

from medscreen.params.detectors.baselines import GradientParams
from medscreen.params.detectors.classifiers import CnnParams
from medscreen.params.detectors.embeddings import (
    EmbeddingParams,
    HeadParams,
    KnnParams,
    LogisticParams,
    MlpParams,
    OwnBackboneParams,
    PublicBackboneParams,
    SvmParams,
)
from medscreen.params.detectors.ensembles import EnsembleParams
from medscreen.params.detectors.entry import DetectorName, TrainingParams
from medscreen.params.detectors.kinds import SingleParams
from medscreen.params.detectors.reconstruction import AutoencoderParams

__all__ = [
    "AutoencoderParams",
    "CnnParams",
    "DetectorName",
    "DetectorParams",
    "EmbeddingParams",
    "EnsembleParams",
    "GradientParams",
    "HeadParams",
    "KnnParams",
    "LogisticParams",
    "MlpParams",
    "OwnBackboneParams",
    "PublicBackboneParams",
    "SingleParams",
    "SvmParams",
    "TrainingParams",
]

DetectorParams = Annotated[SingleParams | EnsembleParams, Discriminator("kind")]
