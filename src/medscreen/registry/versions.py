"""Registered versions of packaged detectors: what their tags hold, and how one is found."""

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
    """A registered version that can't be used; `reason` is half a sentence."""

    def __init__(self, version: "Version", reason: str) -> None:
        super().__init__(
            f"{version} can't be used: {reason}; `dvc repro publish` puts it back where the version is the workspace's "
            "own."
        )
        self.reason = reason


@dataclass(frozen=True)
class Version:
    """A registered version of a packaged detector; `changed` is the time (ms) of its last change in MLflow."""

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
        """Its name in the roster."""
        return self.tags.get(names.DETECTOR, "")

    @property
    def digest(self) -> str:
        """The digest of the packaged graph."""
        return self.tags.get(names.DIGEST, "")

    @property
    def run_key(self) -> str:
        """The key of the training."""
        return self.tags.get(names.RUN_KEY, "")

    @property
    def val_digest(self) -> str:
        """The digest of the images that its threshold was chosen on."""
        return self.tags.get(names.VAL, "")

    @property
    def is_baseline(self) -> bool:
        """True for a one-line baseline."""
        return self.tags.get(names.BASELINE) == "true"

    @property
    def rolled_back(self) -> str:
        """Time and reason of its rollback, "" without one."""
        return self.tags.get(names.ROLLED_BACK, "")


def model_names(client: MlflowClient) -> list[str]:
    """Every registered model, by name."""
    return sorted(model.name for model in client.search_registered_models())


def versions_of(client: MlflowClient, model: str) -> list[Version]:
    """Every version of a registered model, the newest first; raises MedscreenError where MLflow's answer is invalid."""
    try:
        found = [version_from(version) for version in client.search_model_versions(named_filter(model))]
    except ParseError as error:
        raise _invalid_answer(f"a version of {model}", error) from error
    return sorted(found, key=lambda version: -version.number)


def named_filter(model: str) -> str:
    """MLflow's filter for the versions of a model: others' may have an apostrophe in their name."""
    quote = '"' if "'" in model else "'"
    return f"name = {quote}{model}{quote}"


def version_from(version: ModelVersion) -> Version:
    """A version as MLflow returns it; raises MedscreenError where its number or its times are invalid."""
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
        f"The store's answer for {subject} is none that MLflow gives ({' '.join(str(error).split())[:100]}). Check "
        "that MLFLOW_TRACKING_URI names an MLflow server; of the checkout's own store, `medscreen restore` brings a "
        "backup back."
    )


def version_in_stage(client: MlflowClient, model: str, stage: str) -> Version | None:
    """The version in that stage, None if there is none; where MLflow holds several, the one that has the alias."""
    if stage not in names.STAGES:
        raise MedscreenError(f"{stage!r} is no stage; the stages are {', '.join(names.STAGES)}.")
    found = [version for version in versions_of(client, model) if version.stage == stage]
    if len(found) > 1:  # of the archived ones it is what Production gave up last
        alias = client.get_registered_model(model).aliases.get(stage.lower())
        found = [version for version in found if str(version.number) == str(alias)] or found
    return max(found, key=lambda version: (version.changed, version.number), default=None)


def find_version(client: MlflowClient, model: str, which: str) -> Version:
    """The version of that number, or in that stage; raises MedscreenError where there is none."""
    in_it = version_in_stage(client, model, which) if which in names.STAGES else None
    if in_it is not None:
        return in_it
    numbered = {str(version.number): version for version in versions_of(client, model)}
    if which not in numbered:
        known = ", ".join(sorted(numbered, key=int)) or "none"
        raise MedscreenError(
            f"{model} has no version {which!r}; its versions are {known}, its stages {', '.join(names.STAGES)}."
        )
    return numbered[which]


def named_version(client: MlflowClient, dataset: str, which: str) -> Version:
    """The version NAME/STAGE or NAME/NUMBER; without a name it is one of the data set's model.

    Raises MedscreenError where there is none.
    """
    name, slash, last = which.rpartition("/")
    if slash and not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{which!r} names no version; name one as MODEL/STAGE or MODEL/NUMBER.")
    return find_version(client, name or names.model_name(dataset), last)


def version_of(client: MlflowClient, model: str, digest: str) -> Version | None:
    """The version of that packaged digest, None if there is none; of several the one that is in use."""
    found = [version for version in versions_of(client, model) if version.digest == digest]
    in_use = ("Production", "Staging", "Archived", "None")
    return min(found, key=lambda version: in_use.index(version.stage), default=None)


def location_of(client: MlflowClient, version: Version) -> str:
    """Location of a version's files in the registry, independent of its run and logged model."""
    return str(client.get_model_version_download_uri(version.model, str(version.number)))


def require_graph(client: MlflowClient, layout: Layout, version: Version) -> Path:
    """The packaged graph of a version; raises LostVersionError where its files are lost or not those registered."""
    try:
        return sound_graph(client, layout, location_of(client, version), version.digest)
    except FaultyModelError as fault:
        raise LostVersionError(version, str(fault)) from fault
