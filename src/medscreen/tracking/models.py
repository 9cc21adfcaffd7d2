"""Packaged detectors as MLflow's logged models."""

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types import Schema, TensorSpec

from medscreen.errors import MedscreenError
from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.packaging.detector import packaged_digest
from medscreen.tracking.server import kept_address

DIGEST = "medscreen.packaged_digest"
MODEL = "detector"
_GRAPH = "model.onnx"
# what MLflow loads of a packaged detector
_LOADS = ("loader_module", "data", "code")
_LOADED = {"onnx": (None, _GRAPH, None), "python_function": ("mlflow.onnx", _GRAPH, None)}
_REQUIREMENTS = ("onnx", "onnxruntime", "numpy")


class FaultyModelError(MedscreenError):
    """What a run has logged last is not the packaged detector; the message says why, as half a sentence."""


def logged_graph(client: MlflowClient, layout: Layout, run_id: str) -> Path | None:
    """The file of the graph that a run has logged last, None if it has logged none or the file is lost.

    A server's is downloaded once, to .medscreen/models/<model id>/. Raises MedscreenError where that does not succeed.
    """
    model = _logged_model(client, run_id)
    size = None if model is None else _kept_bytes(client, model)
    if model is None or size is None:
        return None
    here = _local(model)
    if here is not None:
        return here
    copy = layout.scratch / "models" / model.model_id / _GRAPH
    if not copy.is_file() or copy.stat().st_size != size:
        _download(client, model, size, copy)
    return copy


def sound_graph(client: MlflowClient, layout: Layout, run_id: str, digest: str) -> Path:
    """The file of the graph that a run has logged last; raises FaultyModelError unless it is the one of that digest.

    Nor may MLflow load anything else of the run.
    """
    graph = logged_graph(client, layout, run_id)
    if graph is None:
        raise FaultyModelError("its files are lost")
    if packaged_digest(graph) != digest:
        raise FaultyModelError(f"its {_GRAPH} is not the one that was registered")
    if other := other_than_graph(client, run_id):
        raise FaultyModelError(other)
    return graph


def other_than_graph(client: MlflowClient, run_id: str) -> str:
    """What `mlflow.pyfunc` and `mlflow.onnx` would load of a run, if it is anything but the logged graph; else ""."""
    model = _logged_model(client, run_id)
    if model is None:
        return ""
    try:
        with TemporaryDirectory() as folder:
            path = mlflow.artifacts.download_artifacts(
                artifact_uri=f"{model.artifact_location}/{MLMODEL_FILE_NAME}",
                dst_path=folder,
                tracking_uri=client.tracking_uri,
            )
            flavors = Model.load(path).flavors
        loaded = {flavor: tuple(about.get(key) for key in _LOADS) for flavor, about in flavors.items()}
    except Exception as error:  # a damaged file of YAML fails in many ways
        return f"its {MLMODEL_FILE_NAME}, by which MLflow loads it, can't be read ({type(error).__name__})"
    return "" if loaded == _LOADED else f"its {MLMODEL_FILE_NAME} lets MLflow load something else than {_GRAPH}"


def keeps_graph(client: MlflowClient, run_id: str) -> bool:
    """Whether the graph that a run has logged last is still there."""
    model = _logged_model(client, run_id)
    return model is not None and _kept_bytes(client, model) is not None


def logged_model_id(client: MlflowClient, run_id: str) -> str | None:
    """MLflow's name for the model that a run has logged last."""
    model = _logged_model(client, run_id)
    return None if model is None else model.model_id


def _logged_model(client: MlflowClient, run_id: str) -> LoggedModel | None:
    """The model that a run has logged last; MLflow lists them in no order."""
    outputs = client.get_run(run_id).outputs
    models = [client.get_logged_model(output.model_id) for output in outputs.model_outputs] if outputs else []
    return max(models, key=lambda model: model.creation_timestamp, default=None)


def _local(model: LoggedModel) -> Path | None:
    """Where on this machine a logged graph lies, None if a server keeps it."""
    location = urlsplit(model.artifact_location)
    return Path(unquote(location.path)) / _GRAPH if location.scheme in {"", "file"} else None


def _kept_bytes(client: MlflowClient, model: LoggedModel) -> int | None:
    """The size of a logged graph, None if it is lost."""
    here = _local(model)
    if here is not None:
        return here.stat().st_size if here.is_file() else None
    return next((i.file_size for i in client.list_logged_model_artifacts(model.model_id) if i.path == _GRAPH), None)


def _download(client: MlflowClient, model: LoggedModel, size: int, copy: Path) -> None:
    """Fetches a logged graph of so many bytes; `copy` appears whole or not at all."""
    with replaced(copy.parent) as folder:
        folder.mkdir()
        try:
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"{model.artifact_location}/{_GRAPH}",
                dst_path=str(folder),
                tracking_uri=client.tracking_uri,
            )
            arrived = (folder / _GRAPH).stat().st_size
        except (MlflowException, OSError) as error:
            raise MedscreenError(
                f"{_GRAPH} of {model.model_id} can't be downloaded from the server ({type(error).__name__}); see what "
                "its log says, and run the command again."
            ) from error
        if arrived != size:
            raise MedscreenError(
                f"{_GRAPH} of {model.model_id} came with {arrived} of {size} bytes; run the command again."
            )


def log_model(client: MlflowClient, run_id: str, graph: onnx.ModelProto, digest: str) -> None:
    """Logs a packaged detector to a run, with the signature that its graph has; the run is then finished."""
    with kept_address():
        mlflow.set_tracking_uri(client.tracking_uri)  # log_model knows no client
        with mlflow.start_run(run_id=run_id):
            mlflow.onnx.log_model(graph, name=MODEL, **_form(graph, digest))


def restore_model(client: MlflowClient, run_id: str, graph: onnx.ModelProto, digest: str) -> None:
    """Puts lost or changed files of the model that a run has logged back in their place; logs it if there is none.

    Versions go on pointing to it: one that is in Production stays there.
    """
    model_id = logged_model_id(client, run_id)
    if model_id is None:
        log_model(client, run_id, graph, digest)
        return
    with TemporaryDirectory() as folder:
        mlflow.onnx.save_model(graph, f"{folder}/{MODEL}", **_form(graph, digest))
        client.log_model_artifacts(model_id, f"{folder}/{MODEL}")


def _form(graph: onnx.ModelProto, digest: str) -> dict[str, Any]:
    """How MLflow is to keep a packaged detector."""
    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.uint8), (-1, 1, -1, -1), "pixels")]),
        Schema([_tensor(output) for output in graph.graph.output]),
    )
    ramp = np.tile(np.linspace(0, 255, 28).astype(np.uint8), (2, 1, 28, 1))  # nobody's image
    return {
        "signature": signature,
        "input_example": ramp,
        "pip_requirements": [f"{name}=={version(name)}" for name in _REQUIREMENTS],
        "onnx_execution_providers": ["CPUExecutionProvider"],
        # ONNX Runtime would start a thread for each processor of the machine, whatever share of it a container has
        "onnx_session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1},
        "save_as_external_data": False,
        "metadata": {DIGEST: digest},
    }


def _tensor(output: onnx.ValueInfoProto) -> TensorSpec:
    """MLflow's words for an output of the graph; the number of images is free."""
    kind = output.type.tensor_type
    sizes = [dimension.dim_value for dimension in kind.shape.dim[1:]]
    return TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), (-1, *sizes), output.name)
