"""Packaged detectors as MLflow logged models."""

import re
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, Schema, TensorSpec

from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.tracking import names
from medscreen.tracking.mlmodel_file import GRAPH, loads_only_graph, local_graph
from medscreen.tracking.run_state import find_run, is_gone, reaching
from medscreen.tracking.server import as_default, on_server
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout

_MODEL = "detector"
_DIGEST_FORM = re.compile("[0-9a-f]{32}")
_REQUIREMENTS = ("onnx", "onnxruntime", "numpy")


class FaultyModelError(MedscreenError):
    """Raised for lost or changed files of a packaged detector; the message is a clause with the reason."""


def holds_graph(client: MlflowClient, location: str) -> bool:
    """True if there is a packaged graph at a location."""
    return _kept_bytes(client, location) is not None


def keeps_graph(client: MlflowClient, run_id: str) -> bool:
    """True if a graph logged by a run still exists."""
    return any(holds_graph(client, model.artifact_location) for model in _logged_models(client, run_id))


def kept_graph(client: MlflowClient, layout: Layout, location: str, digest: str) -> Path | None:
    """Path of the packaged graph at a location, None if it is lost; its digest is not checked.

    Graphs on a server are downloaded once to .medscreen/models/<digest>/, and again if that copy has another digest.
    Raises MedscreenError for a failed download, UnreachableFilesError for an unreachable storage, and FaultyModelError
    for an invalid digest.
    """
    size = _kept_bytes(client, location)
    if size is None:
        return None
    here = local_graph(location)
    if here is not None:
        return here
    # checked, since the server's value becomes part of a path
    if not _DIGEST_FORM.fullmatch(digest):
        wrong = (
            f"its tag {names.DIGEST} is not a digest" if digest else f"it was registered without the tag {names.DIGEST}"
        )
        raise FaultyModelError(wrong)
    copy = layout.scratch / "models" / digest / GRAPH
    if copy.is_file() and packaged_digest(copy) == digest:
        return copy
    with replaced(copy.parent) as folder:
        folder.mkdir()
        try:
            with reaching(location):
                _repository(client, location).download_artifacts(GRAPH, str(folder))
            arrived = (folder / GRAPH).stat().st_size
        except (MlflowException, OSError) as error:
            raise MedscreenError(
                f"{GRAPH} can't be downloaded from the server ({type(error).__name__}). Check the server's log and "
                "run the command again."
            ) from error
        if arrived != size:
            raise MedscreenError(f"{GRAPH}: {arrived} of {size} bytes were downloaded. Run the command again.")
    return copy


def sound_graph(client: MlflowClient, layout: Layout, location: str, digest: str) -> Path:
    """Path of the packaged graph at a location, after verification.

    Raises FaultyModelError if it is lost, has another digest, or MLflow would load other code or data.
    """
    graph = kept_graph(client, layout, location, digest)
    if graph is None:
        raise FaultyModelError("its files are lost")
    if packaged_digest(graph) != digest:
        raise FaultyModelError(f"its {GRAPH} is not the one that was registered")
    if other := other_than_graph(client, location):
        raise FaultyModelError(other)
    return graph


def other_than_graph(client: MlflowClient, location: str) -> str:
    """Problem of the MLmodel file at a location; "" if MLflow would load the packaged graph and no other file."""
    try:
        with TemporaryDirectory() as folder:
            sound = loads_only_graph(Path(_repository(client, location).download_artifacts(MLMODEL_FILE_NAME, folder)))
    except Exception as error:  # damaged YAML files raise different errors
        return f"its {MLMODEL_FILE_NAME}, which MLflow needs to load it, can't be read ({type(error).__name__})"
    return "" if sound else f"its {MLMODEL_FILE_NAME} makes MLflow load other files than {GRAPH}"


def sound_model_id(client: MlflowClient, layout: Layout, run_id: str, digest: str) -> str | None:
    """Id of an undamaged model with a digest that a run has logged; None without one."""
    for model in _logged_models(client, run_id):
        try:
            sound_graph(client, layout, model.artifact_location, digest)
        except FaultyModelError:  # from a killed publish, or damaged since
            continue
        return str(model.model_id)
    return None


def _logged_models(client: MlflowClient, run_id: str) -> list[LoggedModel]:
    """The logged models of a run that are not deleted."""
    run = find_run(client, run_id)
    found: list[LoggedModel] = []
    for output in run.outputs.model_outputs if run is not None and run.outputs else []:
        try:
            found.append(client.get_logged_model(output.model_id))
        except MlflowException as error:
            if not is_gone(error):
                raise
    return found


def _kept_bytes(client: MlflowClient, location: str) -> int | None:
    """Size of a logged graph in bytes, None if it is lost."""
    here = local_graph(location)
    if here is not None:
        return here.stat().st_size if here.is_file() else None
    # a models: or runs: URI, which MLflow would resolve in the process's default store
    if urlsplit(location).scheme in {"models", "runs"}:
        return None
    with reaching(location):
        return next((i.file_size for i in _repository(client, location).list_artifacts() if i.path == GRAPH), None)


def _repository(client: MlflowClient, location: str) -> Any:
    return get_artifact_repository(location, tracking_uri=client.tracking_uri, registry_uri=client.tracking_uri)


def log_model(client: MlflowClient, run_id: str, graph: onnx.ModelProto, digest: str) -> str:
    """Logs a packaged detector to a run and finishes the run; returns the id of the logged model."""
    with as_default(client), mlflow.start_run(run_id=run_id):  # log_model takes no client
        return str(mlflow.onnx.log_model(graph, name=_MODEL, **_form(graph, digest)).model_id)


def put_back(client: MlflowClient, location: str, graph: onnx.ModelProto, digest: str) -> None:
    """Writes the files of a packaged detector to a location again, so that versions pointing there stay valid.

    Raises MedscreenError if a server gives a folder of this machine as the location.
    """
    if on_server(client) and local_graph(location) is not None:
        raise MedscreenError(
            f"{location}: the MLflow server gives this folder of your machine as the location of a model; nothing was "
            "written there. Start the server with --artifacts-destination."
        )
    with as_default(client), TemporaryDirectory() as folder:
        mlflow.onnx.save_model(graph, f"{folder}/{_MODEL}", **_form(graph, digest))
        _repository(client, location).log_artifacts(f"{folder}/{_MODEL}")


def _form(graph: onnx.ModelProto, digest: str) -> dict[str, Any]:
    """Arguments for logging a packaged detector in MLflow; the signature has a free batch size."""
    outputs: list[ColSpec | TensorSpec] = []
    for output in graph.graph.output:
        kind = output.type.tensor_type
        sizes = [dimension.dim_value for dimension in kind.shape.dim[1:]]
        outputs.append(TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), (-1, *sizes), output.name))
    pixels = TensorSpec(np.dtype(np.uint8), (-1, 1, -1, -1), "pixels")
    ramp = np.tile(np.linspace(0, 255, 28).astype(np.uint8), (2, 1, 28, 1))  # a synthetic image
    return {
        "signature": ModelSignature(Schema([pixels]), Schema(outputs)),
        "input_example": ramp,
        "pip_requirements": [f"{name}=={version(name)}" for name in _REQUIREMENTS],
        "onnx_execution_providers": ["CPUExecutionProvider"],
        # by default ONNX Runtime starts a thread per processor of the machine, ignoring container limits
        "onnx_session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1},
        "save_as_external_data": False,
        "metadata": {names.DIGEST: digest},
    }
