"""A packaged detector as users load it."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from medscreen.digests import file_digest
from medscreen.errors import MedscreenError
from medscreen.images import Pixels, batches
from medscreen.packaging.control_flow import require_straight
from medscreen.packaging.format import METADATA, REFUSAL
from medscreen.params import FILE_DISPLAY, DisplayParams


@dataclass(frozen=True)
class Screening:
    """What a packaged detector says of N images; every array is (N,).

    `score`: the higher, the more abnormal. `p_value`: 1/(n+1)..1, small for images unlike the healthy ones.
    `probability`: 0..1, of being abnormal. `abnormal`: the decision at the operating point. `refer`: whether the
    score lies in the band that is left to a reader. `findings`: (N, K) probabilities of the classes that the
    metadata name, of a detector that tells findings apart.
    """

    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    probability: NDArray[np.float32]
    abnormal: NDArray[np.bool_]
    refer: NDArray[np.bool_]
    findings: NDArray[np.float32] | None = None


class PackagedDetector:
    """A detector as users load it: screens images, and knows what it is."""

    def __init__(self, graph: bytes | Path, threads: int = 1) -> None:
        require_straight(graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # a refused image is reported by the exception alone
        source = str(graph) if isinstance(graph, Path) else graph
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception class for each of its many causes
            raise MedscreenError(
                f"{graph if isinstance(graph, Path) else 'The graph'} can't be loaded: {error}"
            ) from error
        given = {output.name for output in self._session.get_outputs()}
        self._outputs = [field.name for field in fields(Screening) if field.name in given]
        properties = self._session.get_modelmeta().custom_metadata_map
        self.metadata: dict[str, Any] = json.loads(properties.get(METADATA, "{}"))

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square images that the detector was trained on."""
        return int(self.metadata["image_size"])

    @property
    def display(self) -> DisplayParams:
        """How DICOM became the images that the detector was trained on; give it to `ingestion.read_image`."""
        said = self.metadata.get("display")  # packages of a medscreen without the key were trained as files say
        return FILE_DISPLAY if said is None else DisplayParams.model_validate(said)

    def score(self, pixels: Pixels) -> NDArray[np.float32]:
        """The scores (N,) of images (N, H, W); the graph needs no operating point for that."""
        scores: NDArray[np.float32] = self._run(pixels, ["score"])[0]
        return scores

    def screen(self, pixels: Pixels) -> Screening:
        """Screens images (N, H, W), display grey 0 to 255; squares of `image_size` pixels are taken as they are.

        Others are resized, without keeping their proportions: cut them with `ingestion.to_square` first.

        Raises MedscreenError for another type or shape, and for an image without a grey level above 1.
        """
        return Screening(**dict(zip(self._outputs, self._run(pixels, self._outputs), strict=True)))

    def _run(self, pixels: Pixels, outputs: list[str]) -> list[Any]:
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.size == 0:
            raise MedscreenError(
                f"Images must be one uint8 array (N, H, W) in 0 to 255, not {pixels.dtype} {pixels.shape}."
            )
        said = []
        for batch in batches(len(pixels), max(pixels.shape[1:])):
            images = np.ascontiguousarray(pixels[batch, None])
            try:
                said.append(self._session.run(outputs, {"pixels": images}))
            except Exception as error:  # ONNX Runtime has an exception class for each of its many causes
                if REFUSAL not in str(error):
                    raise
                raise MedscreenError(
                    "An image has no grey level above 1: give uint8 images in 0 to 255, not floats in 0 to 1."
                ) from error
        return [np.concatenate(parts) for parts in zip(*said, strict=True)]


def packaged_digest(path: Path) -> str:
    """32 hexadecimal characters that name a packaged detector: network, score, threshold and calibration."""
    return file_digest(path)
