"""Factory of detectors: an unfitted detector for an entry of the roster."""

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.detectors.shared.base import Detector, KnownState, nothing_known


def build(  # noqa: PLR0911  # one return per family
    params: DetectorParams, size: int, compute: ComputeParams, seed: int, known: KnownState = nothing_known
) -> Detector:
    """Builds an unfitted detector for images of `size` x `size` pixels.

    `known`: states of members that an ensemble reuses. Only the modules of the family are imported, so that the stage
    `fit` depends on no other family.
    """
    match params.kind:
        case "statistic":
            from medscreen.detectors.statistic.detector import StatisticDetector

            return StatisticDetector(params)
        case "autoencoder":
            from medscreen.detectors.autoencoder.detector import AutoencoderDetector

            return AutoencoderDetector(params, size, compute, seed)
        case "cnn":
            from medscreen.detectors.cnn.detector import CnnDetector

            return CnnDetector(params, size, compute, seed)
        case "transfer":
            from medscreen.detectors.transfer.detector import TransferDetector

            return TransferDetector(params, size, compute, seed)
        case "novelty":
            from medscreen.detectors.novelty.detector import NoveltyDetector

            return NoveltyDetector(params, size, compute, seed)
        case "patches":
            from medscreen.detectors.patches.detector import patches_detector

            return patches_detector(params, compute, seed)
        case "embedding":
            from medscreen.detectors.embedding.detector import EmbeddingDetector

            return EmbeddingDetector(params, compute, seed)
        case "ensemble":
            from medscreen.detectors.ensemble.detector import EnsembleDetector

            return EnsembleDetector(params, lambda member: build(member, size, compute, seed), known)
