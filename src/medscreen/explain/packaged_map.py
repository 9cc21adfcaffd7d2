"""The map of a packaged detector as users load it: explain.onnx, with ONNX Runtime alone."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscreen.data.images import Pixels
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import open_session, run_on_images

Maps = NDArray[np.float32]
"""(N, S, S), 0 and above, in the unit that the package's metadata name; S is the package's image_size."""
_FLAT = 1e-6


class PackagedMap:
    """Computes where a detector sees what makes an image abnormal."""

    def __init__(self, graph: bytes | Path, threads: int = 1) -> None:
        self._session = open_session(graph, threads)
        if [output.name for output in self._session.get_outputs()] != ["map"]:
            raise MedscreenError("The graph is no map of a detector: it has to take pixels and give a map.")

    def maps(self, pixels: Pixels) -> Maps:
        """The maps of images (N, H, W), display gray; those of other sizes than S are resized, as for scoring."""
        maps: Maps = run_on_images(self._session, pixels, ["map"])[0][:, 0]
        return maps


def is_constant(maps: Maps) -> NDArray[np.bool_]:
    """(N, S, S) -> (N,): whether a map is the same everywhere, or not finite, so that it points nowhere."""
    low, high = maps.min((1, 2)), maps.max((1, 2))
    flat: NDArray[np.bool_] = ~(high - low > _FLAT * np.maximum(1.0, np.abs(high)))
    return flat
