"""Report files of a study: trials, importances, summary and plots. All metrics are on `tune`."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.runtime.escaping import save_csv
from medscreen.studies.importances import importances
from medscreen.studies.optuna_logging import quiet
from medscreen.studies.study_plots import auroc_study, save_plots
from medscreen.studies.trial_attributes import OBJECTIVES, REASON, RETRY_OF
from medscreen.workspace.atomic_outputs import replaced

_ORDER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
_KEPT = "winner.json"


def write_results(study: optuna.Study, folder: Path) -> None:
    """Replaces `folder` by current trials.csv, importances.csv, summary.json and plots of the study.

    An existing winner.json is kept.
    """
    trials = study.get_trials(deepcopy=False)
    objectives = OBJECTIVES[: len(study.directions)]
    with quiet():
        shares = importances(auroc_study(study).get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
    with replaced(folder) as partial:
        partial.mkdir()
        _save_trials(trials, objectives, partial / "trials.csv")
        save_csv(
            partial / "importances.csv",
            ["parameter", "ped_anova_of_tune_auroc", "fanova_of_tune_auroc", "completed_trials"],
            ([row.parameter, row.ped_anova, row.fanova, row.trials] for row in shares),
        )
        text = json.dumps(_summary(study, trials, objectives), indent=2, ensure_ascii=False)
        (partial / "summary.json").write_text(text + "\n", encoding="utf-8")
        save_plots(study, shares, partial)
        if (folder / _KEPT).is_file():
            shutil.copy2(folder / _KEPT, partial / _KEPT)


def _save_trials(trials: Sequence[FrozenTrial], objectives: Sequence[str], path: Path) -> None:
    names = sorted({name for trial in trials for name in trial.params})
    rows = (
        [
            trial.number,
            trial.state.name.lower(),
            *(trial.values or [None] * len(objectives)),
            trial.duration.total_seconds() if trial.duration else None,
            len(trial.intermediate_values),
            *(_cell(trial.params[name]) if name in trial.params else None for name in names),
            trial.user_attrs.get(REASON),
            trial.user_attrs.get(RETRY_OF),
        ]
        for trial in sorted(trials, key=_rank)
    )
    save_csv(path, ["number", "state", *objectives, "seconds", "epochs", *names, "reason", "retry_of"], rows)


def _rank(trial: FrozenTrial) -> tuple[int, float, int]:
    # values of pruned trials are intermediate: they rank below completed ones
    value = trial.values[0] if trial.values else math.nan
    return _ORDER.index(trial.state), math.inf if math.isnan(value) else -value, trial.number


def _cell(value: Any) -> Any:
    # empty cells are reserved for parameters that the trial does not have
    return value if isinstance(value, str) else json.dumps(value)


def _summary(study: optuna.Study, trials: Sequence[FrozenTrial], objectives: Sequence[str]) -> dict[str, Any]:
    completed = sorted((trial for trial in trials if trial.state == TrialState.COMPLETE), key=_rank)
    directions = zip(objectives, study.directions, strict=True)
    summary: dict[str, Any] = {
        "study": study.study_name,
        "directions": {name: direction.name.lower() for name, direction in directions},
        "trials": {state.name.lower(): sum(trial.state == state for trial in trials) for state in _ORDER},
        "best": _trial(completed[0], objectives) if completed else None,
        "seconds": math.fsum(trial.duration.total_seconds() for trial in trials if trial.duration),
    }
    if len(objectives) > 1:
        front = sorted(study.best_trials, key=lambda trial: trial.values[1])
        summary["pareto_front"] = [_trial(trial, objectives) for trial in front]
    return summary


def _trial(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, Any]:
    values = dict(zip(objectives, trial.values, strict=True))
    return {"number": trial.number, **values, "parameters": dict(sorted(trial.params.items()))}
