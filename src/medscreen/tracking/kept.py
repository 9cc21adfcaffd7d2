"""What the store still has of a run: all of it, its record alone, or nothing (deleted, or removed by `mlflow gc`)."""

from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

_GONE = "RESOURCE_DOES_NOT_EXIST"


def is_gone(error: MlflowException) -> bool:
    """Whether MLflow has raised because there is no such object."""
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
    """Whether somebody deleted the run; `mlflow gc` has not removed it yet."""
    return bool(run.info.lifecycle_stage == LifecycleStage.DELETED)


def settings_of(run: Run) -> dict[str, str]:
    """The settings that a run was made with: its parameters, but for those by which medscreen itself keeps order."""
    return {name: value for name, value in run.data.params.items() if not name.startswith("medscreen.")}


def kept_names(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    """The paths of the files at the top of a run or of one of its folders; none where the run is gone."""
    if find_run(client, run_id) is None:
        return set()
    return {item.path for item in client.list_artifacts(run_id, folder)}


def kept_file(client: MlflowClient, run_id: str, name: str) -> bytes | None:
    """The content of a file at the top of a run, None where the file or the run is gone."""
    if name not in kept_names(client, run_id):
        return None
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, name, folder)).read_bytes()
