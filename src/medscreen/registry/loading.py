"""Loading of registered detectors by model and stage."""

import re
from pathlib import Path

from mlflow import MlflowClient

from medscreen.errors import MedscreenError
from medscreen.registry.run_record import Record
from medscreen.registry.versions import model_names, require_graph, version_in_stage, versions_of
from medscreen.tracking import names
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import find_layout


def record_in_stage(name: str, stage: str) -> Record:
    """The record of the version of the registered model `name` in `stage`.

    Raises MedscreenError outside a checkout, for an unknown model or stage, and for a stage without a version.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        raise MedscreenError(f"{name!r} is not a name of a registered model; use letters, digits, '.', '-' and '_'.")
    layout = find_layout()
    client = open_store(layout)
    version = version_in_stage(client, name, stage)
    if version is None:
        raise MedscreenError(_nothing_in(client, name, stage))
    return Record(client, layout, version)


def whole_graph(record: Record) -> Path:
    """The packaged graph of a version; raises MedscreenError if it is lost or damaged."""
    return require_graph(record.client, record.layout, record.version)


def _nothing_in(client: MlflowClient, name: str, stage: str) -> str:
    """Error message for a stage without a version, with the remedy."""
    known = model_names(client)
    if name not in known:
        there = f"registered: {', '.join(known)}; choose one with --name" if known else "no model is registered yet"
        return f"There is no registered model {name} ({there}); `make repro` registers the one of the active data set."
    versions = versions_of(client, name)
    if not versions:
        return f"{name} has no version left; `make repro` registers one."
    placed = {version.stage: version.number for version in versions if version.stage in {"Production", "Staging"}}
    refused = [
        str(version.number) for version in versions if version.tags.get(names.DECISION, "").startswith("refused")
    ]
    parts = [
        f"No version of {name} is in {stage}",
        f"registered: {', '.join(f'{version.number} ({version.detector})' for version in versions)}",
        *(f"version {number} is in {other}: --stage {other}" for other, number in placed.items()),
    ]
    if refused and stage == "Production":
        parts.append(
            f"the gate has refused version {', '.join(refused)}: `medscreen models --log` has its reasons, and "
            "`medscreen promote VERSION --force --reason WHY` overrules it"
        )
    if stage != "Archived":
        parts.append(f"`medscreen promote VERSION --to {stage}` moves one there")
    return "; ".join(parts) + "."
