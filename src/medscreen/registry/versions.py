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
from medscreen.tracking.models import DIGEST, keeps_graph, logged_graph, logged_model_id
from medscreen.tracking.runs import RUN_KEY

STAGES = ("Staging", "Production", "Archived")
_DETECTOR, _VAL = "medscreen.detector", "medscreen.val_digest"


@dataclass(frozen=True)
class Identity:
    """What a version is: the packaged detector, the training behind it, the images its threshold was chosen on."""

    detector: str
    digest: str
    val_digest: str
    run_key: str


@dataclass(frozen=True)
class Version(Identity):
    """A registered version of a packaged detector."""

    model: str
    number: int
    stage: str
    run_id: str


def model_name(dataset: str) -> str:
    """The registered model that a data set's detectors are versions of."""
    return f"{dataset}-detector"


def register(client: MlflowClient, result: Result, run_id: str) -> Version:
    """The version of this result, made unless there is one of the same packaged digest."""
    name = model_name(result.dataset)
    identity = Identity(result.detector, result.digest, result.data["val"]["digest"], result.run_key)
    return register_run(client, name, run_id, identity, f"{result.detector} on {result.dataset}")


def register_run(client: MlflowClient, name: str, run_id: str, identity: Identity, description: str) -> Version:
    """The version of the packaged detector that a run has logged, made unless there is one of its digest."""
    with _quiet():
        try:
            client.get_registered_model(name)
        except MlflowException:
            client.create_registered_model(name, description="Research use only, never diagnosis.")
        model_id = logged_model_id(client, run_id)
        source = f"models:/{model_id}"
        for found in client.search_model_versions(f"name = '{name}'"):
            if found.tags.get(DIGEST) != identity.digest:
                continue
            if found.source == source:
                return _version(found)
            # its files were lost and the run has logged them again: a version can't be pointed elsewhere
            client.delete_model_version(name, found.version)
        tags = {
            DIGEST: identity.digest,
            RUN_KEY: identity.run_key,
            _DETECTOR: identity.detector,
            _VAL: identity.val_digest,
        }
        made = client.create_model_version(name, source, run_id, tags, description=description, model_id=model_id)
    return _version(made)


def in_stage(client: MlflowClient, model: str, stage: str) -> Version | None:
    """The version in that stage, None if there is none; where MLflow holds several, the newest."""
    _require_stage(stage)
    with _quiet():
        found = [v for v in client.search_model_versions(f"name = '{model}'") if v.current_stage == stage]
    return _version(max(found, key=lambda v: int(v.version))) if found else None


def find_version(client: MlflowClient, model: str, which: str) -> Version:
    """The version that `which` names: its number, or the stage it is in.

    Raises MedscreenError where there is none.
    """
    with _quiet():
        if which in STAGES:
            held = in_stage(client, model, which)
            if held is not None:
                return held
        found = [_version(v) for v in client.search_model_versions(f"name = '{model}'")]
    numbered = {str(version.number): version for version in found}
    if which not in numbered:
        known = ", ".join(sorted(numbered, key=int)) or "none"
        raise MedscreenError(
            f"{model} has no version {which!r}; its versions are {known}, its stages {', '.join(STAGES)}."
        )
    return numbered[which]


def version_of(client: MlflowClient, model: str, digest: str) -> Version | None:
    """The version of that packaged digest, None if there is none or its files are lost."""
    with _quiet():
        found = [_version(v) for v in client.search_model_versions(f"name = '{model}'")]
    for version in found:
        if version.digest == digest and keeps_graph(client, version.run_id):
            return version
    return None


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
    layout = find_layout()
    client = open_store(layout)
    version = in_stage(client, name, stage)
    if version is None:
        with _quiet():
            known = ", ".join(model.name for model in client.search_registered_models()) or "none yet"
        raise MedscreenError(
            f"No version of {name} is in {stage} (registered models: {known}); `make repro` puts one into Production."
        )
    graph = logged_graph(client, layout, version.run_id)
    if graph is None:
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
