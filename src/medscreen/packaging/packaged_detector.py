"""Packaged detector: loading and inference with ONNX Runtime."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.config.former_names import current_in_package, with_current_metadata
from medscreen.config.privacy import UNKNOWN
from medscreen.data.images import Pixels, batches
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import METADATA
from medscreen.packaging.control_flow import require_straight
from medscreen.packaging.scoring_graph import REFUSAL
from medscreen.workspace.digests import file_digest

_NO_PACKAGE = "The graph is not a packaged detector of medscreen"
_REASON_LENGTH = 300
_MOST_NAMED = 3  # modalities or body parts of the training images that a message names


@dataclass(frozen=True)
class Screening:
    """Outputs of a packaged detector for N images; every array has the shape (N,) unless stated.

    - `score`: the higher, the more abnormal.
    - `p_value`: conformal p-value, 1/(n+1) to 1 with n healthy images of val; small for images unlike these.
    - `probability`: calibrated probability of being abnormal, 0 to 1.
    - `abnormal`: the decision at the operating point.
    - `deferred`: True if the score lies in the deferral band, whose images go to a reader.
    - `findings`: probabilities (N, K) of the classes that the metadata name; None if the detector has no findings.
    - `in_domain`: True if the image is like the training images; where it is False, no decision holds. None if the
      package was made before this check existed.
    """

    score: NDArray[np.float32]
    p_value: NDArray[np.float32]
    probability: NDArray[np.float32]
    abnormal: NDArray[np.bool_]
    deferred: NDArray[np.bool_]
    findings: NDArray[np.float32] | None = None
    in_domain: NDArray[np.bool_] | None = None


class PackagedDetector:
    """A packaged detector: one ONNX graph from pixels to score and decision, run by ONNX Runtime on the CPU.

    `graph`: content or path of the ONNX file. `threads`: threads of ONNX Runtime. `metadata`: data set, training,
    operating point and domain of the package. Raises MedscreenError for any other file.
    """

    def __init__(self, graph: bytes | Path, threads: int = 1) -> None:
        self._session = open_session(graph, threads)
        given = {output.name for output in self._session.get_outputs()}
        names = [field.name for field in fields(Screening)]
        self._outputs = {current_in_package(name): name for name in given if current_in_package(name) in names}
        self.metadata = self._described()
        if [node.name for node in self._session.get_inputs()] != ["pixels"] or "score" not in given:
            raise MedscreenError(f"{_NO_PACKAGE}: it needs the input pixels and the output score.")

    def _described(self) -> dict[str, Any]:
        try:
            metadata = json.loads(self._session.get_modelmeta().custom_metadata_map.get(METADATA, "{}"))
        except ValueError as error:
            raise MedscreenError(f"{_NO_PACKAGE}: its property {METADATA!r} is not JSON.") from error
        if not isinstance(metadata, dict):
            raise MedscreenError(f"{_NO_PACKAGE}: its property {METADATA!r} is not a JSON object.")
        return with_current_metadata(metadata)

    @property
    def image_size(self) -> int:
        """Side, in pixels, of the square images that the detector was trained on."""
        try:
            return int(self.metadata["image_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise MedscreenError(f"{_NO_PACKAGE}: image_size is missing or invalid in its metadata.") from error

    @property
    def display(self) -> DisplayParams:
        """Display settings of the training images, for `data.load_image.read_image`."""
        stated = self.metadata.get("display")  # older packages lack the key; they were trained with FILE_DISPLAY
        try:
            return FILE_DISPLAY if stated is None else DisplayParams.model_validate(stated)
        except ValueError as error:
            raise MedscreenError(f"{_NO_PACKAGE}: display is invalid in its metadata.") from error

    @property
    def checks_domain(self) -> bool:
        """True if the package has the output `in_domain`; packages of older versions lack it."""
        return "in_domain" in self._outputs

    def header_mismatch(self, described: Mapping[str, str] | None) -> str:
        """Modality or body part that differs from those of the training images; "" without a difference.

        Not compared: files other than DICOM, and elements that no training image states.
        """
        try:
            stated = self.metadata.get("domain", {}).get("dicom", {})
            trained = {name: {value: int(n) for value, n in counts.items()} for name, counts in stated.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise MedscreenError(f"{_NO_PACKAGE}: domain is invalid in its metadata.") from error
        return "; ".join(
            f"{name} {value or UNKNOWN}, trained on {_most_frequent(trained[name])}"
            for name, value in (described or {}).items()
            if trained.get(name, {}).keys() - {UNKNOWN} and (value or UNKNOWN) not in trained[name]
        )

    def score(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scores (N,) of the images (N, H, W) that `screen` accepts. The graph needs no operating point."""
        scores: NDArray[np.float32] = self._run(pixels, ["score"])[0]
        return scores

    def screen(self, pixels: Pixels) -> Screening:
        """Outputs for images (N, H, W): uint8, display gray from 0 (black) to 255 (white).

        Images of other sizes than `image_size` are resized without keeping the aspect ratio: make them square first
        (`medscreen.data.display.to_square`).

        Raises MedscreenError for another type or shape, for an image without a gray level above 1, and for a graph
        without an operating point.
        """
        missing = {field.name for field in fields(Screening) if field.default is MISSING} - self._outputs.keys()
        if missing:
            raise MedscreenError(f"{_NO_PACKAGE}: missing outputs: {', '.join(sorted(missing))}.")
        return Screening(**dict(zip(self._outputs, self._run(pixels, [*self._outputs.values()]), strict=True)))

    def _run(self, pixels: Pixels, outputs: list[str]) -> list[Any]:
        return run_on_images(self._session, pixels, outputs)


def open_session(graph: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    """ONNX Runtime session of a graph; raises MedscreenError if it can't be loaded or has control flow."""
    require_straight(graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a refused image is reported by the exception alone
    source = str(graph) if isinstance(graph, Path) else graph
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many types
        raise MedscreenError(f"{graph if isinstance(graph, Path) else 'The graph'} can't be loaded: {error}") from error


def run_on_images(session: onnxruntime.InferenceSession, pixels: Pixels, outputs: list[str]) -> list[Any]:
    """Outputs for images (N, H, W), batch by batch; raises MedscreenError as `PackagedDetector.screen` does."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.size == 0:
        raise MedscreenError(
            f"Images: expected a uint8 array (N, H, W) in 0 to 255, got {pixels.dtype} {pixels.shape}."
        )
    found = []
    for batch in batches(len(pixels), max(pixels.shape[1:])):
        images = np.ascontiguousarray(pixels[batch, None])
        try:
            found.append(session.run(outputs, {"pixels": images}))
        except Exception as error:  # ONNX Runtime raises many types
            if REFUSAL in str(error):
                raise MedscreenError(
                    "An image has no gray level above 1. Pass uint8 images in 0 to 255, not floats in 0 to 1."
                ) from error
            reason = " ".join(str(error).split())[:_REASON_LENGTH]
            raise MedscreenError(f"{_NO_PACKAGE}: ONNX Runtime failed ({reason}).") from error
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def _most_frequent(counts: Mapping[str, int]) -> str:
    names = sorted(counts, key=lambda name: -counts[name])
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def stated_operating_point(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Operating point in the metadata of a package, with the domain check if there is one."""
    domain = {"domain": metadata["domain"]} if "domain" in metadata else {}
    return {**metadata["operating_point"], **domain}


def packaged_digest(path: Path) -> str:
    """Digest of a packaged detector, 32 hexadecimal characters: covers network, threshold and calibration."""
    return file_digest(path)
