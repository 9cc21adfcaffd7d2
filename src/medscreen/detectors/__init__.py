"""Detectors: each learns what healthy (or abnormal) images look like and scores new ones."""

from medscreen.detectors.baselines import StatisticDetector
from medscreen.detectors.classifiers import ClassifierDetector
from medscreen.detectors.ensembles import EnsembleDetector, KnownState, nothing_known
from medscreen.detectors.novelty import NoveltyDetector, PadimDetector, PatchcoreDetector
from medscreen.detectors.protocol import Detector, score
from medscreen.detectors.reconstruction import ReconstructionDetector
from medscreen.params import (
    AutoencoderParams,
    CnnParams,
    ComputeParams,
    DetectorParams,
    EmbeddingParams,
    EnsembleParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
    StatisticParams,
    TransferParams,
    TunableCnnParams,
    VaeParams,
)

__all__ = ["Detector", "KnownState", "build", "nothing_known", "score"]


def build(  # noqa: PLR0911  # one a kind
    params: DetectorParams, size: int, compute: ComputeParams, seed: int, known: KnownState = nothing_known
) -> Detector:
    """An unfitted detector for images of `size` x `size` pixels; an ensemble takes members that are `known`."""
    match params:
        case StatisticParams():
            return StatisticDetector(params)
        case AutoencoderParams() | VaeParams():
            return ReconstructionDetector(params, size, compute, seed)
        case CnnParams() | TunableCnnParams() | TransferParams():
            return ClassifierDetector(params, size, compute, seed)
        case NoveltyParams():
            return NoveltyDetector(params, size, compute, seed)
        case PadimParams():
            return PadimDetector(params, compute, seed)
        case PatchcoreParams():
            return PatchcoreDetector(params, compute, seed)
        case EmbeddingParams():
            # scikit-learn costs 1.4 s that the other kinds need not pay
            from medscreen.detectors.embeddings import EmbeddingDetector

            return EmbeddingDetector(params, compute, seed)
        case EnsembleParams():
            return EnsembleDetector(params, lambda member: build(member, size, compute, seed), known)
