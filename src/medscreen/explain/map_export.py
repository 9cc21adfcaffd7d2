"""Map export: the map of a fitted detector as the graph explain.onnx."""

from dataclasses import dataclass
from typing import Any

import onnx

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.detectors.shared.base import Detector
from medscreen.detectors.shared.onnx_export import export_module
from medscreen.explain.maps.map_network import NoMapError, map_network
from medscreen.packaging.scoring_graph import map_graph


@dataclass(frozen=True)
class ExportedMap:
    """The graph, None where there is no map, and what package and fit.json state: kind and unit, or the reason."""

    graph: onnx.ModelProto | None
    about: dict[str, Any]


def export_map(entry: DetectorEntry, detector: Detector, size: int) -> ExportedMap:
    """The map graph of a fitted detector: uint8 `pixels` (N, 1, H, W) -> float32 `map` (N, 1, size, size)."""
    try:
        kind, network = map_network(entry, detector, size)
    except NoMapError as reason:
        return ExportedMap(None, {"map": None, "reason": str(reason)})
    return ExportedMap(map_graph(export_module(network, size, ["map"]), size), {"map": kind, "unit": str(network.unit)})
