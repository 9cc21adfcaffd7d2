"""Detectors: each learns what healthy (or abnormal) images look like and scores new ones."""

from medscreen.detectors.baselines import GradientDetector
from medscreen.detectors.classifiers import CnnDetector
from medscreen.detectors.novelty import NoveltyDetector, PadimDetector, PatchcoreDetector
from medscreen.detectors.protocol import Detector, score
from medscreen.detectors.reconstruction import AutoencoderDetector
from medscreen.params import (
    AutoencoderParams,
    CnnParams,
    ComputeParams,
    DetectorParams,
    GradientParams,
    NoveltyParams,
    PadimParams,
    PatchcoreParams,
)

__all__ = ["Detector", "build", "score"]


def build(params: DetectorParams, size: int, compute: ComputeParams, seed: int) -> Detector:
    """An unfitted detector for images of `size` x `size` pixels."""
    match params:
        case GradientParams():
            return GradientDetector()
        case AutoencoderParams():
            return AutoencoderDetector(params, size, compute, seed)
        case CnnParams():
            return CnnDetector(params, compute, seed)
        case NoveltyParams():
            return NoveltyDetector(params, size, compute, seed)
        case PadimParams():
            return PadimDetector(params, compute, seed)
        case PatchcoreParams():
            return PatchcoreDetector(params, compute, seed)
