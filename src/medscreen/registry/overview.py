"""What is registered: every version with its stage, data and headline metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlflow import MlflowClient

from medscreen.evaluation.bootstrap import Estimate
from medscreen.registry.stages import quiet
from medscreen.registry.versions import OPERATING_POINT_OF, POLICY, Version, fault_of_files, versions_of
from medscreen.tracking.run_state import find_run
from medscreen.tracking.runs import COMMIT, DATA

HEADLINE = ("val/auroc", "test/auroc", "test/sensitivity", "test/specificity")


@dataclass(frozen=True)
class Row:
    """One version; `metrics`: those of HEADLINE, None where the run has none. `data`: digest of the source data.

    `lost`: its files are; `unreachable`: whether they are can't be told from this machine. `run_lost`: its run is lost,
    and with it metrics and record.
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


def model_names(client: MlflowClient) -> list[str]:
    """Every registered model, by name."""
    with quiet():
        return sorted(model.name for model in client.search_registered_models())


def overview(client: MlflowClient, models: Sequence[str]) -> list[Row]:
    """The versions of these registered models, the newest first."""
    return [_row(client, version) for model in models for version in versions_of(client, model)]


def _row(client: MlflowClient, version: Version) -> Row:
    run = find_run(client, version.run_id)
    wrong = fault_of_files(client, version)
    logged = run.data.metrics if run is not None else {}
    metrics: dict[str, Estimate] = {
        name: {"value": logged.get(name), "low": logged.get(f"{name}_low"), "high": logged.get(f"{name}_high")}
        for name in HEADLINE
    }
    of = version.tags.get(OPERATING_POINT_OF)
    return Row(
        model=version.model,
        version=version.number,
        stage=version.stage,
        detector=version.detector,
        threshold=version.tags.get(POLICY, "") + (f" of {of}" if of else ""),
        data=version.tags.get(DATA, ""),
        commit=version.tags.get(COMMIT, ""),
        made=version.made,
        metrics=metrics,
        rolled_back=version.rolled_back,
        lost=wrong == "lost",
        unreachable=wrong == "unreachable",
        run_lost=run is None,
    )
