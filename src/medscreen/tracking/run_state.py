"""State of a run in the store: whole, its record alone, or gone (deleted, or removed by `mlflow gc`)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from medscreen.config.former_names import current_param, current_value
from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import without_password

_GONE = "RESOURCE_DOES_NOT_EXIST"
_SERVED = {"", "file", "mlflow-artifacts", "http", "https"}  # kept here, or by the server itself


class UnreachableFilesError(MedscreenError):
    """Files in a storage that this machine can't reach, so that their loss can't be checked."""


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Raises UnreachableFilesError for whatever fails in a storage that is not the server's own."""
    try:
        yield
    except MedscreenError:
        raise
    except Exception as error:  # each kind of storage fails in its own way
        if urlsplit(location).scheme in _SERVED:
            raise
        means = "pip install boto3" if urlsplit(location).scheme == "s3" else "install what MLflow needs for that"
        raise UnreachableFilesError(
            f"The server keeps its files at {without_password(location)}, which this machine can't reach "
            f"({type(error).__name__}). Let the server serve them (--artifacts-destination); or {means} here, and give "
            "this machine access."
        ) from error


def require_reachable(client: MlflowClient, location: str) -> None:
    """Raises UnreachableFilesError where this machine can't look at what a server keeps at a location."""
    if urlsplit(location).scheme in _SERVED:
        return
    with reaching(location):
        get_artifact_repository(location, tracking_uri=client.tracking_uri).list_artifacts()


def is_gone(error: MlflowException) -> bool:
    """True if MLflow raised because there is no such object."""
    return bool(error.error_code == _GONE)


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """The run of that id, deleted ones included; None if it was removed for good, or no run was named."""
    if not run_id:
        return None
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if is_gone(error):
            return None
        raise


def is_deleted(run: Run) -> bool:
    """True for a deleted run that `mlflow gc` has not removed yet."""
    return bool(run.info.lifecycle_stage == LifecycleStage.DELETED)


def settings_of(run: Run) -> dict[str, str]:
    """The settings that a run was made with, by their present names: its parameters, but for medscreen's own marks."""
    return {
        current_param(name): current_value(name, value)
        for name, value in run.data.params.items()
        if not name.startswith("medscreen.")
    }


def kept_names(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    """The paths of the files at the top of a run or of one of its folders; none where the run is gone."""
    run = find_run(client, run_id)
    if run is None:
        return set()
    with reaching(run.info.artifact_uri or ""):
        return {item.path for item in client.list_artifacts(run_id, folder)}


def kept_file(client: MlflowClient, run_id: str, name: str) -> bytes | None:
    """The content of a file at the top of a run, None where the file or the run is gone."""
    if name not in kept_names(client, run_id):
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()


def kept_json(client: MlflowClient, run_id: str, name: str) -> dict[str, Any]:
    """The object in a JSON file at the top of a run; empty where the file is lost or damaged, or the run is gone."""
    try:
        content = json.loads(kept_file(client, run_id, name) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
