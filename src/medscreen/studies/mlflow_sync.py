"""Logging of a study's trials in MLflow."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.studies.search_space import Searched
from medscreen.studies.study_plan import Plan
from medscreen.studies.trial_attributes import CONFUSION, CURVES, REASON, RETRY_OF
from medscreen.tracking.study_runs import StudyIdentity, StudyRuns, TrialRecord
from medscreen.workspace.layout import Layout

_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}


def runs_of(layout: Layout, plan: Plan, study: optuna.Study, identity: StudyIdentity) -> StudyRuns:
    """The MLflow runs of a study, found or created."""
    records = list(records_of(study.get_trials(deepcopy=False), plan.searched))
    return StudyRuns(layout, plan.dataset, plan.detector, identity, records, plan.about(), plan.strategy())


def records_of(trials: Iterable[FrozenTrial], searched: Searched) -> Iterator[TrialRecord]:
    """The records of all started trials."""
    for trial in trials:
        if trial.state in _STATUS:
            yield record_of(trial, searched)


def record_of(trial: FrozenTrial, searched: Searched) -> TrialRecord:
    """Converts a trial for logging in MLflow."""
    part, values = searched.values(trial.params)
    attributes: dict[str, Any] = trial.user_attrs
    counts = attributes.get(CONFUSION, {})
    metrics = {f"tune/{name}": float(count) for name, count in counts.items()}
    metrics |= dict(zip(("tune/auroc", "ms_per_image"), trial.values or (), strict=False))
    if RETRY_OF in attributes:
        metrics["retry_of"] = float(attributes[RETRY_OF])
    return TrialRecord(
        number=trial.number,
        status=_STATUS[trial.state],
        started=_ms(trial.datetime_start) or 0,
        ended=_ms(trial.datetime_complete),
        params={"entry": part, **values},
        metrics=metrics,
        reported=trial.intermediate_values,
        curves=attributes.get(CURVES, []),
        files={"tune_confusion_matrix.json": counts} if counts else {},
        reason=str(attributes.get(REASON, "its process was ended" if trial.state == TrialState.FAIL else "")),
    )


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
