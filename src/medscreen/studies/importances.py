"""Hyperparameter importances for tune AUROC, by PED-ANOVA and fANOVA."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial

from medscreen.studies.optuna_logging import quiet

_FEWEST = 4  # minimum number of trials for a best tenth and a regression forest
_SEED = 0


@dataclass(frozen=True)
class Importance:
    """Importance of a parameter as a share of all, 0 to 1; None if it can't be computed.

    PED-ANOVA: importance for being among the best tenth of all trials. fANOVA: share of the variance of all values,
    among the `trials` that have the parameter and over the parameters that all of these have.
    """

    parameter: str
    ped_anova: float | None
    fanova: float | None
    trials: int


def importances(completed: Sequence[FrozenTrial]) -> list[Importance]:
    """Importances of all parameters, highest first; empty for fewer than four trials or equal values.

    The trials must have AUROC as their only value (`auroc_study`).
    """
    if not _comparable(completed):
        return []
    names = sorted({name for trial in completed for name in trial.params})
    having = {name: [trial for trial in completed if name in trial.params] for name in names}
    searched = [name for name in names if len(having[name]) >= _FEWEST and varies(name, having[name])]
    ped_anova = _shares(PedAnovaImportanceEvaluator(), completed, searched)
    rows = []
    for name in names:
        fanova = _fanova(having[name]) if name in searched else {}
        rows.append(Importance(name, ped_anova.get(name), fanova.get(name), len(having[name])))
    every = len(completed)
    return sorted(rows, key=lambda row: (-(row.ped_anova or 0) - (row.fanova or 0) * row.trials / every, row.parameter))


def varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    """True if these trials have more than one value of the parameter."""
    return len({repr(trial.params[name]) for trial in trials if name in trial.params}) > 1


def _comparable(trials: Sequence[FrozenTrial]) -> bool:
    return len(trials) >= _FEWEST and len({trial.value for trial in trials}) > 1


def _fanova(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    # Optuna's intersection omits a parameter whose range was changed during the study
    common = [name for name in optuna.search_space.intersection_search_space(list(trials)) if varies(name, trials)]
    return _shares(FanovaImportanceEvaluator(seed=_SEED), trials, common) if _comparable(trials) else {}


def _shares(
    evaluator: BaseImportanceEvaluator, trials: Sequence[FrozenTrial], names: Sequence[str]
) -> dict[str, float]:
    if len(names) < 2:  # one parameter alone always has a share of 1
        return {}
    with quiet():
        study = optuna.create_study(direction="maximize")
        study.add_trials(trials)
        # Optuna's normalization gives equal shares if all importances are 0
        weights = get_param_importances(study, evaluator=evaluator, params=list(names), normalize=False)
    total = sum(weights.values())
    return {name: float(weight / total) for name, weight in weights.items()} if total > 0 else {}
