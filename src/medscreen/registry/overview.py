"""Table of registered versions with stage, data and headline metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlflow import MlflowClient

from medscreen.evaluation.bootstrap import Estimate
from medscreen.registry.versions import Version, location_of, versions_of
from medscreen.tracking import names
from medscreen.tracking.logged_models import holds_graph
from medscreen.tracking.run_state import find_run

HEADLINE = ("val/auroc", "test/auroc", "test/sensitivity", "test/specificity")


@dataclass(frozen=True)
class Row:
    """One version; `metrics`: those of HEADLINE, with None if missing. `data`: digest of the source data.

    `lost`: its files are lost. `unreachable`: its files can't be checked from this machine. `run_lost`: its run
    is lost, with metrics and record.
    """

    model: str
    version: int
    stage: str
    detector: str
    threshold: str
    data: str
    commit: str
    made: datetime
    metrics: dict[str, Estimate]
    rolled_back: str
    lost: bool
    unreachable: bool
    run_lost: bool


def overview(client: MlflowClient, models: Sequence[str]) -> list[Row]:
    """The versions of these registered models, newest first."""
    return [_row(client, version) for model in models for version in versions_of(client, model)]


def _row(client: MlflowClient, version: Version) -> Row:
    run = find_run(client, version.run_id)
    logged = run.data.metrics if run is not None else {}
    tags, of = version.tags, version.tags.get(names.OPERATING_POINT_OF)
    try:
        is_lost, is_unreachable = not holds_graph(client, location_of(client, version)), False
    except Exception:  # each kind of storage on a server raises different errors
        is_lost, is_unreachable = False, True
    return Row(
        model=version.model,
        version=version.number,
        stage=version.stage,
        detector=version.detector,
        threshold=tags.get(names.POLICY, "") + (f" of {of}" if of else ""),
        data=tags.get(names.DATA, ""),
        commit=tags.get(names.COMMIT, ""),
        made=version.made,
        metrics={
            name: {"value": logged.get(name), "low": logged.get(f"{name}_low"), "high": logged.get(f"{name}_high")}
            for name in HEADLINE
        },
        rolled_back=version.rolled_back,
        lost=is_lost,
        unreachable=is_unreachable,
        run_lost=run is None,
    )
