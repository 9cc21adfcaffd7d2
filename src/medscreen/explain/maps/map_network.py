"""The map network of a detector, or the reason why there is none."""

from typing import Any

from torch import nn

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.detectors.shared.base import Detector


class NoMapError(Exception):
    """There is no map of a detector; the message is the reason."""


def map_network(entry: DetectorEntry, detector: Detector, size: int) -> tuple[str, nn.Module]:
    """Kind and network, images (N, 1, size, size) in 0..1 -> maps of the same shape, 0 and above; raises NoMapError.

    The network has a `unit`: what 1 means. Only the modules of the detector's own family are imported.
    """
    scorer: Any = detector.network
    match entry.kind:
        case "autoencoder":
            from medscreen.explain.maps.residual_map import ResidualMap

            return "residual map", ResidualMap(scorer)
        case "patches":
            from medscreen.explain.maps.patch_map import PatchMap

            return "patch map", PatchMap(scorer, size)
        case "cnn" | "transfer":
            from medscreen.explain.maps.class_activation import ClassActivationMap

            return "class activation map", ClassActivationMap(scorer, size)
        case "novelty":
            from medscreen.explain.maps.feature_distance_map import FeatureDistanceMap

            return "place map", FeatureDistanceMap(scorer, size)
        case "embedding":
            from medscreen.explain.maps.embedding_map import EmbeddingMap

            if entry.head.kind != "logistic":  # type: ignore[attr-defined]
                raise NoMapError(
                    f"the head {entry.head.kind} is not linear, so that its score is not a sum over places"  # type: ignore[attr-defined]
                )
            return "place map", EmbeddingMap(scorer, size)
        case "statistic":
            raise NoMapError("a statistic of the whole image has no places")
        case _:
            raise NoMapError("the members of an ensemble have maps in different units")
