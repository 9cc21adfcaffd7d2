"""Versions of packaged detectors, their stages, and how users load them.

A stage and the alias of the same meaning are set together: stages are what this project's users load by, aliases
are what MLflow will keep.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from medscreen.errors import MedscreenError
from medscreen.layout import find_layout
from medscreen.packaging.detector import PackagedDetector
from medscreen.tracking import Result, open_store
from medscreen.tracking.runs import DIGEST, RUN_KEY, logged_model, logged_model_id

STAGES = ("Staging", "Production", "Archived")
_DETECTOR, _VAL = "medscreen.detector", "medscreen.val_digest"


@dataclass(frozen=True)
class Version:
    """A registered version of a packaged detector."""

    model: str
    number: int
    stage: str
    detector: str
    digest: str
    val_digest: str
    run_id: str
    run_key: str


def model_name(dataset: str) -> str:
    """The registered model that a data set's detectors are versions of."""
    return f"{dataset}-detector"


def register(client: MlflowClient, result: Result, run_id: str) -> Version:
    """The version of this result, made unless there is one of the same packaged digest."""
    name = model_name(result.dataset)
    with _quiet():
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name, description="Research use only, never diagnosis.")
        source = f"models:/{logged_model_id(client, run_id)}"
        for found in client.search_model_versions(f"name = '{name}'"):
            if found.tags.get(DIGEST) != result.digest:
                continue
            if found.source == source:
                return _version(found)
            # its files were lost and the run has logged them again: a version can't be pointed elsewhere
            client.delete_model_version(name, found.version)
        tags = {
            DIGEST: result.digest,
            RUN_KEY: result.run_key,
            _DETECTOR: result.detector,
            _VAL: result.data["val"]["digest"],
        }
        made = client.create_model_version(
            name, source, run_id, tags=tags, description=f"{result.detector} on {result.dataset}"
        )
    return _version(made)


def in_stage(client: MlflowClient, model: str, stage: str) -> Version | None:
    """The version in that stage, None if there is none; where MLflow holds several, the newest."""
    _require_stage(stage)
    with _quiet():
        found = [v for v in client.search_model_versions(f"name = '{model}'") if v.current_stage == stage]
    return _version(max(found, key=lambda v: int(v.version))) if found else None


def move_to(client: MlflowClient, version: Version, stage: str) -> None:
    """Gives a version the stage and its alias; the one that had them is archived."""
    _require_stage(stage)
    with _quiet():
        client.set_registered_model_alias(version.model, stage.lower(), str(version.number))
        client.transition_model_version_stage(
            version.model, str(version.number), stage, archive_existing_versions=stage != "Archived"
        )


def load_detector(name: str, stage: str = "Production") -> PackagedDetector:
    """The detector that the registered model `name` has in `stage`, ready to screen images.

    Raises MedscreenError outside a checkout, for an unknown stage and where no version has that stage.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{name!r} is no name of a registered model; letters, digits, '.', '-' and '_' make one.")
    client = open_store(find_layout())
    version = in_stage(client, name, stage)
    if version is None:
        with _quiet():
            known = ", ".join(model.name for model in client.search_registered_models()) or "none yet"
        raise MedscreenError(
            f"No version of {name} is in {stage} (registered models: {known}); `make repro` puts one into Production."
        )
    graph = logged_model(client, version.run_id)
    if graph is None or not graph.is_file():
        raise MedscreenError(
            f"The files of {name} version {version.number} are lost; `dvc repro publish` logs them again."
        )
    return PackagedDetector(graph)


def _require_stage(stage: str) -> None:
    if stage not in STAGES:
        raise MedscreenError(f"{stage!r} is no stage; the stages are {', '.join(STAGES)}.")


def _version(version: ModelVersion) -> Version:
    return Version(
        model=version.name,
        number=int(version.version),
        stage=version.current_stage or "None",
        detector=version.tags.get(_DETECTOR, ""),
        digest=version.tags.get(DIGEST, ""),
        val_digest=version.tags.get(_VAL, ""),
        run_id=version.run_id or "",
        run_key=version.tags.get(RUN_KEY, ""),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's word that stages are deprecated: docs/decisions says why they are used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
