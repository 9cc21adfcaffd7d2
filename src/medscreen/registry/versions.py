"""Versions of packaged detectors: what each carries, and how one is found."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from medscreen.errors import MedscreenError
from medscreen.registry.stages import STAGES, checked_version, in_stage, quiet, search_versions
from medscreen.tracking.detector_results import Result
from medscreen.tracking.logged_models import (
    DIGEST,
    FaultyModelError,
    holds_graph,
    log_model,
    put_back,
    sound_graph,
    sound_model_id,
)
from medscreen.tracking.runs import COMMIT, DATA, DETECTOR, DIRTY, EXPERIMENT, LINEAGE, RUN_KEY, finish_run
from medscreen.tracking.server import as_default
from medscreen.workspace.layout import Layout

VAL, SPLITS, BASELINE, POLICY = (
    "medscreen.val_digest",
    "medscreen.split_digests",
    "medscreen.is_baseline",
    "medscreen.threshold_policy",
)
DECISION, ROLLED_BACK, OPERATING_POINT_OF, RUN = (
    "medscreen.decision",
    "medscreen.rolled_back",
    "medscreen.operating_point_of",
    "medscreen.run",  # the run that was made anew for a version whose own was removed: MLflow never changes that one
)
# what a version takes over from its run
_OF_RUN = (DIGEST, RUN_KEY, DETECTOR, DATA, COMMIT, DIRTY, EXPERIMENT, LINEAGE, OPERATING_POINT_OF)


@dataclass(frozen=True)
class Version:
    """A registered version of a packaged detector; what it carries are its tags."""

    model: str
    number: int
    stage: str
    run_id: str
    made: datetime
    tags: Mapping[str, str]

    @property
    def detector(self) -> str:
        """Its name in the roster."""
        return self.tags.get(DETECTOR, "")

    @property
    def digest(self) -> str:
        """Names the package."""
        return self.tags.get(DIGEST, "")

    @property
    def run_key(self) -> str:
        """Names the training."""
        return self.tags.get(RUN_KEY, "")

    @property
    def val_digest(self) -> str:
        """Names the images that its threshold was chosen on."""
        return self.tags.get(VAL, "")

    @property
    def is_baseline(self) -> bool:
        """Whether it is a one-line baseline."""
        return self.tags.get(BASELINE) == "true"

    @property
    def rolled_back(self) -> str:
        """When and why it was taken out of Production, "" if it was not."""
        return self.tags.get(ROLLED_BACK, "")


def model_name(dataset: str) -> str:
    """The registered model that a data set's detectors are versions of."""
    return f"{dataset}-detector"


def register(client: MlflowClient, layout: Layout, result: Result) -> Version:
    """The version of this result, with a run that shows it; either is made unless it is there.

    What was lost of a version that is there is put back, and it keeps its stage.
    """
    model = model_name(result.dataset)
    run_ids = [known.run_id for known in versions_of(client, model) if known.digest == result.digest]
    run_id = finish_run(client, layout, result, run_ids)
    about = tags_of(result.lineage, result.is_baseline) | result.studied
    about[POLICY] = str(result.params["operating.threshold.policy"])
    return register_run(client, layout, model, run_id, about, result.packaged)


def tags_of(lineage: Mapping[str, Any], is_baseline: bool) -> dict[str, str]:
    """What a version's tags say of its making, all of it from its lineage."""
    splits = lineage["data"]["splits"]
    return {
        DETECTOR: lineage["detector"],
        RUN_KEY: lineage["training"]["run_key"],
        DATA: lineage["data"]["digest"],
        VAL: splits["val"],
        SPLITS: " ".join(f"{split}={digest}" for split, digest in splits.items()),
        BASELINE: str(is_baseline).lower(),
    }


def register_run(
    client: MlflowClient, layout: Layout, model: str, run_id: str, about: Mapping[str, str], packaged: Path
) -> Version:
    """The version of the packaged detector that a run shows, made unless there is one of its digest.

    Its tags are `about`, and what it takes over from the run. Lost or changed files of the model are written again.
    """
    of_run = client.get_run(run_id).data.tags
    tags = {**about, **{name: of_run[name] for name in _OF_RUN if name in of_run}}
    known = version_of(client, model, tags[DIGEST]) or _version_of_run(client, model, run_id)
    if known is not None:
        if known.run_id != run_id:
            tags[RUN] = run_id
        for tag in (tag for tag, value in tags.items() if known.tags.get(tag) != value):
            client.set_model_version_tag(model, str(known.number), tag, tags[tag])
        known = replace(known, tags={**known.tags, **tags})
        mend_files(client, layout, known, packaged)
        return known
    model_id = sound_model_id(client, layout, run_id, tags[DIGEST])
    if model_id is None:
        log_model(client, run_id, onnx.load(packaged), tags[DIGEST])
        model_id = sound_model_id(client, layout, run_id, tags[DIGEST])
    with quiet(), as_default(client):
        try:
            client.get_registered_model(model)
        except MlflowException:
            client.create_registered_model(model, description="Research use only, never diagnosis.")
        # a server takes a logged model as source only where it is named, too
        made = client.create_model_version(model, f"models:/{model_id}", run_id, tags=tags, model_id=model_id)
        return _version(checked_version(made))


def mend_files(client: MlflowClient, layout: Layout, version: Version, packaged: Path) -> None:
    """Writes the files of a version again, from its package, where they are lost or changed."""
    location = location_of(client, version)
    try:
        sound_graph(client, layout, location, version.digest)
    except FaultyModelError:
        put_back(client, location, onnx.load(packaged), version.digest)


def versions_of(client: MlflowClient, model: str) -> list[Version]:
    """Every version of a registered model, the newest first."""
    return sorted(map(_version, search_versions(client, model)), key=lambda version: -version.number)


def held(client: MlflowClient, model: str, stage: str) -> Version | None:
    """The version in that stage, None if there is none."""
    found = in_stage(client, model, stage)
    return _version(found) if found else None


def find_version(client: MlflowClient, model: str, which: str) -> Version:
    """The version that `which` names: its number, or the stage it is in.

    Raises MedscreenError where there is none.
    """
    if which in STAGES:
        in_it = held(client, model, which)
        if in_it is not None:
            return in_it
    numbered = {str(version.number): version for version in versions_of(client, model)}
    if which not in numbered:
        known = ", ".join(sorted(numbered, key=int)) or "none"
        raise MedscreenError(
            f"{model} has no version {which!r}; its versions are {known}, its stages {', '.join(STAGES)}."
        )
    return numbered[which]


def named_version(client: MlflowClient, dataset: str, which: str) -> Version:
    """The version that NAME/STAGE or NAME/NUMBER names; without a name it is one of the data set's model.

    Raises MedscreenError where there is none.
    """
    name, slash, last = which.rpartition("/")
    if not slash:
        return find_version(client, model_name(dataset), which)
    if not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{which!r} names no version; name one as MODEL/STAGE or MODEL/NUMBER.")
    return find_version(client, name, last)


def location_of(client: MlflowClient, version: Version) -> str:
    """Where the files of a version are kept: known to the registry alone, whatever became of run and logged model."""
    return str(client.get_model_version_download_uri(version.model, str(version.number)))


def fault_of_files(client: MlflowClient, version: Version) -> str:
    """What is wrong with the place of a version's packaged graph: "lost", "unreachable" from this machine, or ""."""
    try:
        return "" if holds_graph(client, location_of(client, version)) else "lost"
    except Exception:  # of others' models on a server, each kind of storage fails in its own way
        return "unreachable"


def checked_graph(client: MlflowClient, layout: Layout, version: Version) -> Path:
    """The packaged graph of a version; raises FaultyModelError where its files are lost or are not those registered."""
    return sound_graph(client, layout, location_of(client, version), version.digest)


def require_graph(client: MlflowClient, layout: Layout, version: Version) -> Path:
    """The packaged graph of a version; raises MedscreenError where its files are lost or are not those registered."""
    try:
        return checked_graph(client, layout, version)
    except FaultyModelError as fault:
        raise unusable(version, "used", str(fault)) from fault


def unusable(version: Version, to_be: str, fault: str) -> MedscreenError:
    """The error for a version that can't be used, or scored again, for that fault (half a sentence)."""
    return MedscreenError(
        f"{version.model} version {version.number} can't be {to_be}: {fault}; `dvc repro publish` puts it back where "
        "the version is the workspace's own."
    )


def version_of(client: MlflowClient, model: str, digest: str) -> Version | None:
    """The version of that packaged digest, None if there is none; of several the one that is in use."""
    found = [version for version in versions_of(client, model) if version.digest == digest]
    in_use = ("Production", "Staging", "Archived", "None")
    return min(found, key=lambda version: in_use.index(version.stage), default=None)


def _version_of_run(client: MlflowClient, model: str, run_id: str) -> Version | None:
    """The version that was registered from a run and has lost its digest: in MLflow's UI people can delete tags."""
    found = (version for version in versions_of(client, model) if version.run_id == run_id and not version.digest)
    return next(found, None)


def _version(version: ModelVersion) -> Version:
    return Version(
        model=version.name,
        number=int(version.version),
        stage=version.current_stage or "None",
        run_id=version.tags.get(RUN) or version.run_id or "",
        made=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tags=dict(version.tags),
    )
