"""Registered versions of packaged detectors: their tags, and lookup by number, stage, name or digest."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from medscreen.errors import MedscreenError
from medscreen.tracking import names
from medscreen.tracking.logged_models import FaultyModelError, sound_graph
from medscreen.workspace.layout import Layout


class LostVersionError(MedscreenError):
    """A registered version that can't be used; `reason` is a clause without a period."""

    def __init__(self, version: "Version", reason: str) -> None:
        super().__init__(
            f"{version} can't be used: {reason}; `dvc repro publish` restores it if the workspace holds the version."
        )
        self.reason = reason


@dataclass(frozen=True)
class Version:
    """A registered version of a packaged detector; `changed`: time (ms) of its last change in MLflow."""

    model: str
    number: int
    stage: str
    run_id: str
    made: datetime
    tags: Mapping[str, str]
    changed: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.model} version {self.number}"

    @property
    def detector(self) -> str:
        """The detector's name in the roster."""
        return self.tags.get(names.DETECTOR, "")

    @property
    def digest(self) -> str:
        """The digest of the packaged graph."""
        return self.tags.get(names.DIGEST, "")

    @property
    def run_key(self) -> str:
        """The run key of the training."""
        return self.tags.get(names.RUN_KEY, "")

    @property
    def val_digest(self) -> str:
        """The digest of the images that its threshold was chosen on."""
        return self.tags.get(names.VAL, "")

    @property
    def is_baseline(self) -> bool:
        """True for a baseline."""
        return self.tags.get(names.BASELINE) == "true"

    @property
    def rolled_back(self) -> str:
        """Date and reason of the rollback, "" without one."""
        return self.tags.get(names.ROLLED_BACK, "")


def model_names(client: MlflowClient) -> list[str]:
    """Names of all registered models, sorted."""
    return sorted(model.name for model in client.search_registered_models())


def versions_of(client: MlflowClient, model: str) -> list[Version]:
    """All versions of a registered model, newest first; raises MedscreenError if MLflow's response is invalid."""
    try:
        found = [version_from(version) for version in client.search_model_versions(named_filter(model))]
    except ParseError as error:
        raise _invalid_answer(f"a version of {model}", error) from error
    return sorted(found, key=lambda version: -version.number)


def named_filter(model: str) -> str:
    """MLflow filter for the versions of a model; its name on a server may contain an apostrophe."""
    quote = '"' if "'" in model else "'"
    return f"name = {quote}{model}{quote}"


def version_from(version: ModelVersion) -> Version:
    """Converts MLflow's version; raises MedscreenError if its number or times are invalid."""
    try:
        return Version(
            model=version.name,
            number=int(version.version),
            stage=version.current_stage or "None",
            run_id=version.tags.get(names.RUN) or version.run_id or "",
            made=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
            tags=dict(version.tags),
            changed=int(version.last_updated_timestamp or 0),
        )
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise _invalid_answer(f"version {version.version} of {version.name}", error) from error


def _invalid_answer(subject: str, error: Exception) -> MedscreenError:
    return MedscreenError(
        f"{subject}: the store returned an invalid response ({' '.join(str(error).split())[:100]}). Check that "
        "MLFLOW_TRACKING_URI is the address of an MLflow server; for the checkout's store, restore a backup with "
        "`medscreen restore`."
    )


def version_in_stage(client: MlflowClient, model: str, stage: str) -> Version | None:
    """The version in a stage, None if empty; of several, the one with the stage's alias, else the last changed."""
    if stage not in names.STAGES:
        raise MedscreenError(f"{stage!r} is not a stage; stages: {', '.join(names.STAGES)}.")
    found = [version for version in versions_of(client, model) if version.stage == stage]
    if len(found) > 1:  # the alias of Archived names the last version of Production
        alias = client.get_registered_model(model).aliases.get(stage.lower())
        found = [version for version in found if str(version.number) == str(alias)] or found
    return max(found, key=lambda version: (version.changed, version.number), default=None)


def find_version(client: MlflowClient, model: str, which: str) -> Version:
    """The version with a number or in a stage; raises MedscreenError if there is none."""
    in_it = version_in_stage(client, model, which) if which in names.STAGES else None
    if in_it is not None:
        return in_it
    numbered = {str(version.number): version for version in versions_of(client, model)}
    if which not in numbered:
        known = ", ".join(sorted(numbered, key=int)) or "none"
        raise MedscreenError(f"{model} has no version {which!r}; versions: {known}; stages: {', '.join(names.STAGES)}.")
    return numbered[which]


def named_version(client: MlflowClient, dataset: str, which: str) -> Version:
    """The version NAME/STAGE or NAME/NUMBER; NAME defaults to the data set's model.

    Raises MedscreenError if there is none.
    """
    name, slash, last = which.rpartition("/")
    if slash and not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{which!r} is not a version; write MODEL/STAGE or MODEL/NUMBER.")
    return find_version(client, name or names.model_name(dataset), last)


def version_of(client: MlflowClient, model: str, digest: str) -> Version | None:
    """The version with a packaged digest, None without one; Production before Staging before Archived."""
    found = [version for version in versions_of(client, model) if version.digest == digest]
    in_use = ("Production", "Staging", "Archived", "None")
    return min(found, key=lambda version: in_use.index(version.stage), default=None)


def location_of(client: MlflowClient, version: Version) -> str:
    """Location of a version's files in the registry, independent of its run and logged model."""
    return str(client.get_model_version_download_uri(version.model, str(version.number)))


def require_graph(client: MlflowClient, layout: Layout, version: Version) -> Path:
    """Path of a version's packaged graph; raises LostVersionError if its files are lost or not those registered."""
    try:
        return sound_graph(client, layout, location_of(client, version), version.digest)
    except FaultyModelError as fault:
        raise LostVersionError(version, str(fault)) from fault
