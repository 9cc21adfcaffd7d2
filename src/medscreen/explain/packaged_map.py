"""Explanation map of a packaged detector: explain.onnx, run by ONNX Runtime alone."""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from medscreen.data.images import Pixels
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import open_session, run_on_images
from medscreen.packaging.scoring_graph import map_graph

Maps = NDArray[np.float32]
"""(N, S, S), 0 and above, in the unit of the package's metadata; S is its image_size."""
_FLAT = 1e-6


class PackagedMap:
    """Computes the explanation maps of a detector."""

    def __init__(self, network: onnx.ModelProto | Path, threads: int = 1) -> None:
        """`network`: explain.onnx on images in 0..1; it is extended to uint8 pixels like a packaged detector."""
        model = onnx.load(network) if isinstance(network, Path) else network
        outputs = [output.name for output in model.graph.output]
        if outputs not in (["map"], ["map", "reconstruction"]):
            raise MedscreenError("The graph is no map of a detector: it needs input `images` and output `map`.")
        self.reconstructs = len(outputs) == 2
        size = model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value
        self._session = open_session(map_graph(model, size).SerializeToString(), threads)

    def maps(self, pixels: Pixels) -> Maps:
        """Maps of images (N, H, W), display gray; other sizes than S are resized, as for scoring."""
        maps: Maps = run_on_images(self._session, pixels, ["map"])[0][:, 0]
        return maps

    def reconstructions(self, pixels: Pixels) -> Maps | None:
        """Reconstructions (N, S, S), 0..1, of images (N, H, W); None where the graph has no such output."""
        if not self.reconstructs:
            return None
        found: Maps = run_on_images(self._session, pixels, ["reconstruction"])[0][:, 0]
        return found


def is_constant(maps: Maps) -> NDArray[np.bool_]:
    """(N, S, S) -> (N,): True for a map that is constant or not finite."""
    low, high = maps.min((1, 2)), maps.max((1, 2))
    flat: NDArray[np.bool_] = ~(high - low > _FLAT * np.maximum(1.0, np.abs(high)))
    return flat
