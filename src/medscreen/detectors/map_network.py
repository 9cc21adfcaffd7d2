"""Explanation map of a fitted detector as the graph explain.onnx, or the reason why it has none."""

from dataclasses import dataclass
from typing import Any

import onnx
from torch import nn

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.detectors.shared.base import Detector
from medscreen.detectors.shared.onnx_export import export_module


class NoMapError(Exception):
    """Raised for a detector without an explanation map; the message is the reason."""


def map_network(entry: DetectorEntry, detector: Detector, size: int) -> tuple[str, nn.Module]:
    """Kind of a detector's map and the network that computes it.

    The network takes images (N, 1, size, size) in 0..1 and returns maps of the same shape, 0 and above; a residual map
    comes with the reconstruction in 0..1. Its `unit` names the unit of the values. Only the modules of the detector's
    family are imported. Raises NoMapError.
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
                    f"the head {entry.head.kind} is not linear, so its score is not a sum over image positions"  # type: ignore[attr-defined]
                )
            return "place map", EmbeddingMap(scorer, size)
        case "statistic":
            raise NoMapError("a statistic of the whole image does not refer to positions in it")
        case _:
            raise NoMapError("the members of an ensemble have maps in different units")


@dataclass(frozen=True)
class ExportedMap:
    """Graph of a map, None without one, and its description in package and fit.json: kind and unit, or the reason."""

    graph: onnx.ModelProto | None
    about: dict[str, Any]


def export_map(entry: DetectorEntry, detector: Detector, size: int) -> ExportedMap:
    """Exports the map of a fitted detector as a graph: float `images` (N, 1, size, size) in 0..1 -> `map`, same shape.

    The graph of an autoencoder also has the output `reconstruction`.
    """
    try:
        kind, network = map_network(entry, detector, size)
    except NoMapError as reason:
        return ExportedMap(None, {"map": None, "reason": str(reason)})
    outputs = ["map", "reconstruction"] if entry.kind == "autoencoder" else ["map"]
    return ExportedMap(export_module(network, size, outputs), {"map": kind, "unit": str(network.unit)})
