"""The map of a fitted detector as the graph explain.onnx, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any

import onnx
from torch import nn

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.detectors.shared.base import Detector
from medscreen.detectors.shared.onnx_export import export_module


class NoMapError(Exception):
    """There is no map of a detector; the message is the reason."""


def map_network(entry: DetectorEntry, detector: Detector, size: int) -> tuple[str, nn.Module]:
    """Kind and network, images (N, 1, size, size) in 0..1 -> maps of the same shape, 0 and above; raises NoMapError.

    A residual map comes with the reconstruction, 0..1. The network has a `unit`: what 1 means. Only the modules of the
    detector's own family are imported.
    """
    scorer: Any = detector.network
    match entry.kind:
        case "autoencoder":
            from medscreen.detectors.autoencoder.residual_map import ResidualMap

            return "residual map", ResidualMap(scorer)
        case "patches":
            from medscreen.detectors.patches.patch_map import PatchMap

            return "patch map", PatchMap(scorer, size)
        case "cnn" | "transfer":
            from medscreen.detectors.shared.class_activation import ClassActivationMap

            return "class activation map", ClassActivationMap(scorer, size)
        case "novelty":
            from medscreen.detectors.novelty.feature_distance_map import FeatureDistanceMap

            return "place map", FeatureDistanceMap(scorer, size)
        case "embedding":
            from medscreen.detectors.embedding.embedding_map import EmbeddingMap

            if entry.head.kind != "logistic":  # type: ignore[attr-defined]
                raise NoMapError(
                    f"the head {entry.head.kind} is not linear, so that its score is not a sum over places"  # type: ignore[attr-defined]
                )
            return "place map", EmbeddingMap(scorer, size)
        case "statistic":
            raise NoMapError("a statistic of the whole image has no places")
        case _:
            raise NoMapError("the members of an ensemble have maps in different units")


@dataclass(frozen=True)
class ExportedMap:
    """The graph, None where there is no map, and what package and fit.json state: kind and unit, or the reason."""

    graph: onnx.ModelProto | None
    about: dict[str, Any]


def export_map(entry: DetectorEntry, detector: Detector, size: int) -> ExportedMap:
    """The map graph of a fitted detector: float `images` (N, 1, size, size) in 0..1 -> `map` of the same shape.

    Of an autoencoder also `reconstruction`.
    """
    try:
        kind, network = map_network(entry, detector, size)
    except NoMapError as reason:
        return ExportedMap(None, {"map": None, "reason": str(reason)})
    outputs = ["map", "reconstruction"] if entry.kind == "autoencoder" else ["map"]
    return ExportedMap(export_module(network, size, outputs), {"map": kind, "unit": str(network.unit)})
