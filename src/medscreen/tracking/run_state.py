"""Reading runs that may be deleted, removed by `mlflow gc`, or without their files."""

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
_SERVED = {"", "file", "mlflow-artifacts", "http", "https"}  # local, or served by the MLflow server


class UnreachableFilesError(MedscreenError):
    """Raised for a storage that this machine can't reach, so that loss of its files can't be checked."""


@contextmanager
def reaching(location: str) -> Iterator[None]:
    """Context that turns errors of a storage outside the MLflow server into UnreachableFilesError."""
    try:
        yield
    except MedscreenError:
        raise
    except Exception as error:  # each kind of storage raises different errors
        if urlsplit(location).scheme in _SERVED:
            raise
        means = "pip install boto3" if urlsplit(location).scheme == "s3" else "install MLflow's package for it"
        raise UnreachableFilesError(
            f"The server keeps its files at {without_password(location)}, which this machine can't reach "
            f"({type(error).__name__}). Start the server with --artifacts-destination; or {means} here, and "
            "give this machine access."
        ) from error


def require_reachable(client: MlflowClient, location: str) -> None:
    """Raises UnreachableFilesError if this machine can't list the files of a server at a location."""
    if urlsplit(location).scheme in _SERVED:
        return
    with reaching(location):
        get_artifact_repository(location, tracking_uri=client.tracking_uri).list_artifacts()


def is_gone(error: MlflowException) -> bool:
    """True if MLflow raised since the object does not exist."""
    return bool(error.error_code == _GONE)


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """The run with an id, also if deleted; None if it was removed permanently or the id is empty."""
    if not run_id:
        return None
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if is_gone(error):
            return None
        raise


def is_deleted(run: Run) -> bool:
    """True if a run is deleted but not removed by `mlflow gc`."""
    return bool(run.info.lifecycle_stage == LifecycleStage.DELETED)


def settings_of(run: Run) -> dict[str, str]:
    """The parameters of a run under their current names, without internal ones (`medscreen.`)."""
    return {
        current_param(name): current_value(name, value)
        for name, value in run.data.params.items()
        if not name.startswith("medscreen.")
    }


def kept_names(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    """Paths of the artifacts in the root of a run, or in its `folder`; empty if the run is gone."""
    run = find_run(client, run_id)
    if run is None:
        return set()
    with reaching(run.info.artifact_uri or ""):
        return {item.path for item in client.list_artifacts(run_id, folder)}


def kept_file(client: MlflowClient, run_id: str, name: str) -> bytes | None:
    """Content of a file in a run's artifact root; None if the file or the run is gone."""
    if name not in kept_names(client, run_id):
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()


def kept_json(client: MlflowClient, run_id: str, name: str) -> dict[str, Any]:
    """JSON object from a file in a run's artifact root; {} if the file is damaged, or the file or the run is gone."""
    try:
        content = json.loads(kept_file(client, run_id, name) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
