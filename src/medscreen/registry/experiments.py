"""What an experiment (`dvc exp run`) changes in MLflow: nothing but what it made itself."""

from mlflow import MlflowClient

from medscreen.registry.versions import Version, model_name, register, versions_of
from medscreen.tracking.detector_results import Result
from medscreen.tracking.runs import EXPERIMENT, experiment_name, finish_run
from medscreen.workspace.layout import Layout


def published(client: MlflowClient, layout: Layout, result: Result) -> Version | None:
    """The version of a result, which is registered; None for a baseline of an experiment, which has a run alone.

    Where another has registered the same package before, an experiment takes that version as it is.
    """
    if experiment_name():
        known = next((v for v in versions_of(client, model_name(result.dataset)) if v.digest == result.digest), None)
        if result.is_baseline or (known is not None and not may_change(known)):
            finish_run(client, layout, result)
            return known
    return register(client, layout, result)


def may_change(version: Version) -> bool:
    """Whether card, tags and metrics of a version may be written: in a repro always, in an experiment if it made it."""
    return experiment_name() in ("", version.tags.get(EXPERIMENT))
