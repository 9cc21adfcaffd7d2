"""The roster: one class a kind of detector, one file a family."""

from typing import Annotated

from pydantic import Discriminator

from medscreen.params.detectors.backbones import BackboneParams
from medscreen.params.detectors.baselines import StatisticParams
from medscreen.params.detectors.classifiers import (
    AugmentParams,
    ClassifierEntry,
    CnnParams,
    RecipeParams,
    TransferParams,
    TunableCnnParams,
)
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
from medscreen.params.detectors.novelty import (
    DistanceParams,
    FeaturesParams,
    HogParams,
    MahalanobisParams,
    NearestParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
    PatchesParams,
    PyramidParams,
)
from medscreen.params.detectors.reconstruction import AutoencoderParams, LayersParams, ResidualScore, VaeParams

__all__ = [
    "AugmentParams",
    "AutoencoderParams",
    "BackboneParams",
    "ClassifierEntry",
    "CnnParams",
    "DetectorName",
    "DetectorParams",
    "DistanceParams",
    "EmbeddingParams",
    "EnsembleParams",
    "FeaturesParams",
    "HeadParams",
    "HogParams",
    "KnnParams",
    "LayersParams",
    "LogisticParams",
    "MahalanobisParams",
    "MlpParams",
    "NearestParams",
    "NoveltyParams",
    "OwnBackboneParams",
    "PadimParams",
    "PatchcoreParams",
    "PatchesParams",
    "PublicBackboneParams",
    "PyramidParams",
    "RecipeParams",
    "ResidualScore",
    "SingleParams",
    "StatisticParams",
    "SvmParams",
    "TrainingParams",
    "TransferParams",
    "TunableCnnParams",
    "VaeParams",
]

DetectorParams = Annotated[SingleParams | EnsembleParams, Discriminator("kind")]
