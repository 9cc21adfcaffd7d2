"""Detectors: each learns what healthy (or abnormal) images look like and scores new ones."""

from medscreen.detectors.baselines import GradientDetector
from medscreen.detectors.classifiers import CnnDetector
from medscreen.detectors.embeddings import EmbeddingDetector
from medscreen.detectors.ensembles import EnsembleDetector, KnownState, nothing_known
from medscreen.detectors.protocol import Detector, score
from medscreen.detectors.reconstruction import AutoencoderDetector
from medscreen.params import (
    AutoencoderParams,
    CnnParams,
    ComputeParams,
    DetectorParams,
    EmbeddingParams,
    EnsembleParams,
    GradientParams,
)

__all__ = ["Detector", "KnownState", "build", "nothing_known", "score"]


def build(
    params: DetectorParams, size: int, compute: ComputeParams, seed: int, known: KnownState = nothing_known
) -> Detector:
    """An unfitted detector for images of `size` x `size` pixels; an ensemble takes members that are `known`."""
    match params:
        case GradientParams():
            return GradientDetector()
        case AutoencoderParams():
            return AutoencoderDetector(params, size, compute, seed)
        case CnnParams():
            return CnnDetector(params, compute, seed)
        case EmbeddingParams():
            return EmbeddingDetector(params, compute, seed)
        case EnsembleParams():
            return EnsembleDetector(params, lambda member: build(member, size, compute, seed), known)
