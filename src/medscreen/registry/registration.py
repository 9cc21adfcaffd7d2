"""Registration of results as model versions, each with its MLflow run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medscreen.registry.versions import (
    LostVersionError,
    Version,
    location_of,
    require_graph,
    version_from,
    version_of,
    versions_of,
)
from medscreen.tracking import names
from medscreen.tracking.detector_results import Result
from medscreen.tracking.logged_models import log_model, put_back, sound_model_id
from medscreen.tracking.names import model_name
from medscreen.tracking.runs import experiment_name, finish_run
from medscreen.tracking.server import as_default
from medscreen.workspace.layout import Layout

# tags copied from the run to the version
_OF_RUN = (
    names.DIGEST,
    names.RUN_KEY,
    names.DETECTOR,
    names.DATA,
    names.COMMIT,
    names.DIRTY,
    names.EXPERIMENT,
    names.LINEAGE,
    names.OPERATING_POINT_OF,
)


def register(client: MlflowClient, layout: Layout, result: Result) -> Version | None:
    """The version of a result; creates version and run if missing and restores lost files.

    An experiment (`dvc exp run`) changes only versions that it made. Its baselines get a run without a version: None.
    """
    model = model_name(result.dataset)
    known = [version for version in versions_of(client, model) if version.digest == result.digest]
    if experiment_name() and (result.is_baseline or (known and not may_change(known[0]))):
        finish_run(client, layout, result)
        return known[0] if known else None
    run_id = finish_run(client, layout, result, [version.run_id for version in known])
    about = tags_of(result.lineage, result.is_baseline) | result.studied
    about[names.POLICY] = str(result.params["operating.threshold.policy"])
    return register_run(client, layout, model, run_id, about, result.packaged)


def may_change(version: Version) -> bool:
    """True if card, tags and metrics of a version may be written: always in a repro, in an experiment if it made it."""
    return experiment_name() in ("", version.tags.get(names.EXPERIMENT))


def tags_of(lineage: Mapping[str, Any], is_baseline: bool) -> dict[str, str]:
    """The tags of a version that derive from its lineage."""
    splits = lineage["data"]["splits"]
    return {
        names.DETECTOR: lineage["detector"],
        names.RUN_KEY: lineage["training"]["run_key"],
        names.DATA: lineage["data"]["digest"],
        names.VAL: splits["val"],
        names.SPLITS: " ".join(f"{split}={digest}" for split, digest in splits.items()),
        names.BASELINE: str(is_baseline).lower(),
    }


def register_run(
    client: MlflowClient, layout: Layout, model: str, run_id: str, about: Mapping[str, str], packaged: Path
) -> Version:
    """The version of a run's packaged detector, created unless one has its digest.

    Its tags are `about` and the run's tags in _OF_RUN. Lost or changed files of the model are written again.
    """
    of_run = client.get_run(run_id).data.tags
    tags = {**about, **{name: of_run[name] for name in _OF_RUN if name in of_run}}
    digest = tags[names.DIGEST]
    known = version_of(client, model, digest) or next(
        # users can delete the tag of the digest in MLflow's UI
        (version for version in versions_of(client, model) if version.run_id == run_id and not version.digest),
        None,
    )
    if known is not None:
        if known.run_id != run_id:
            tags[names.RUN] = run_id
        for tag in (tag for tag, value in tags.items() if known.tags.get(tag) != value):
            client.set_model_version_tag(model, str(known.number), tag, tags[tag])
        known = replace(known, tags={**known.tags, **tags})
        mend_files(client, layout, known, packaged)
        return known
    model_id = sound_model_id(client, layout, run_id, digest) or log_model(client, run_id, onnx.load(packaged), digest)
    with as_default(client):
        try:
            client.get_registered_model(model)
        except MlflowException:
            client.create_registered_model(model, description="Research use only, never diagnosis.")
        # a server accepts a logged model as source only with its id
        return version_from(
            client.create_model_version(model, f"models:/{model_id}", run_id, tags=tags, model_id=model_id)
        )


def mend_files(client: MlflowClient, layout: Layout, version: Version, packaged: Path) -> None:
    """Writes the files of a version again from its package if they are lost or changed."""
    try:
        require_graph(client, layout, version)
    except LostVersionError:
        put_back(client, location_of(client, version), onnx.load(packaged), version.digest)
