"""What a study found, as files: every trial, what mattered, pictures. All of it is about the split `tune`."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.runtime.escaping import save_csv
from medscreen.studies.importances import Importance, importances
from medscreen.studies.plot_scales import VALUES
from medscreen.studies.study_plots import save_pictures
from medscreen.studies.trial_attributes import REASON, RETRY_OF
from medscreen.workspace.atomic_outputs import replaced

_ORDER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL)
_KEPT = "winner.json"


def write_results(study: optuna.Study, folder: Path) -> None:
    """Replaces `folder` by trials.csv, importances.csv, summary.json and the pictures of the study as it is now.

    The study's values are AUROC on tune (up) and, in a study of two objectives, ms an image (down). A winner.json that
    is there stays. A picture for which there are too few trials is not written.
    """
    trials = study.get_trials(deepcopy=False)
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    shares = importances(completed)
    front = sorted(study.best_trials, key=lambda trial: trial.values[1]) if len(study.directions) > 1 else []
    with replaced(folder) as partial:
        partial.mkdir()
        _save_trials(trials, len(study.directions), partial / "trials.csv")
        _save_importances(shares, partial / "importances.csv")
        text = json.dumps(_summary(study, trials, front), indent=2, ensure_ascii=False)
        (partial / "summary.json").write_text(text + "\n", encoding="utf-8")
        save_pictures(study.study_name, trials, shares, front, partial)
        if (folder / _KEPT).is_file():
            shutil.copy2(folder / _KEPT, partial / _KEPT)


def _save_trials(trials: Sequence[FrozenTrial], objectives: int, path: Path) -> None:
    names = sorted({name for trial in trials for name in trial.params})
    rows = (
        [
            trial.number,
            trial.state.name.lower(),
            *(trial.values or [None] * objectives),
            trial.duration.total_seconds() if trial.duration else None,
            len(trial.intermediate_values),
            *(_cell(trial.params[name]) if name in trial.params else None for name in names),
            trial.user_attrs.get(REASON),
            trial.user_attrs.get(RETRY_OF),
        ]
        for trial in sorted(trials, key=_rank)
    )
    save_csv(path, ["number", "state", *VALUES[:objectives], "seconds", "epochs", *names, "reason", "retry_of"], rows)


def _rank(trial: FrozenTrial) -> tuple[int, float, int]:
    # what a pruned trial had reached is no final value: it stands below those that ended
    value = trial.values[0] if trial.values else math.nan
    return _ORDER.index(trial.state), math.inf if math.isnan(value) else -value, trial.number


def _cell(value: Any) -> Any:
    # an empty cell says that the trial had no such parameter
    return value if isinstance(value, str) else json.dumps(value)


def _save_importances(shares: Sequence[Importance], path: Path) -> None:
    header = ["parameter", "ped_anova_of_tune_auroc", "fanova_of_tune_auroc", "completed_trials"]
    save_csv(path, header, ([row.parameter, row.ped_anova, row.fanova, row.trials] for row in shares))


def _summary(study: optuna.Study, trials: Sequence[FrozenTrial], front: Sequence[FrozenTrial]) -> dict[str, Any]:
    objectives = VALUES[: len(study.directions)]
    completed = sorted((trial for trial in trials if trial.state == TrialState.COMPLETE), key=_rank)
    summary: dict[str, Any] = {
        "study": study.study_name,
        "directions": {
            name: direction.name.lower() for name, direction in zip(objectives, study.directions, strict=True)
        },
        "trials": {state.name.lower(): sum(trial.state == state for trial in trials) for state in _ORDER},
        "best": _said(completed[0], objectives) if completed else None,
        "seconds": math.fsum(trial.duration.total_seconds() for trial in trials if trial.duration),
    }
    if len(objectives) > 1:
        summary["pareto_front"] = [_said(trial, objectives) for trial in front]
    return summary


def _said(trial: FrozenTrial, objectives: Sequence[str]) -> dict[str, Any]:
    values = dict(zip(objectives, trial.values, strict=True))
    return {"number": trial.number, **values, "parameters": dict(sorted(trial.params.items()))}
