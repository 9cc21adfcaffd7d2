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
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

DIGEST = "medscreen.packaged_digest"
MODEL = "detector"
_REQUIREMENTS = ("onnx", "onnxruntime", "numpy")


def logged_model(client: MlflowClient, run_id: str) -> Path | None:
    """The graph that a run has logged last, None if it has logged none; the file may be lost."""
    model_id = logged_model_id(client, run_id)
    if model_id is None:
        return None
    location = urlsplit(client.get_logged_model(model_id).artifact_location)
    return Path(unquote(location.path)) / "model.onnx"


def logged_model_id(client: MlflowClient, run_id: str) -> str | None:
    """MLflow's name for the model that a run has logged last; it lists them in no order."""
    outputs = client.get_run(run_id).outputs
    models = [client.get_logged_model(output.model_id) for output in outputs.model_outputs] if outputs else []
    return max(models, key=lambda model: model.creation_timestamp).model_id if models else None


def log_model(client: MlflowClient, run_id: str, graph: onnx.ModelProto, digest: str) -> None:
    """Logs a packaged detector to a run, with the signature that its graph has; the run is then finished."""
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
        "save_as_external_data": False,
        "metadata": {DIGEST: digest},
    }


def _tensor(output: onnx.ValueInfoProto) -> TensorSpec:
    """MLflow's words for an output of the graph; the number of images is free."""
    kind = output.type.tensor_type
    sizes = [dimension.dim_value for dimension in kind.shape.dim[1:]]
    return TensorSpec(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type), (-1, *sizes), output.name)
