"""Importance of each parameter for tune AUROC, by PED-ANOVA and by fANOVA."""

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

_FEWEST = 4  # trials below which neither a best tenth nor a regression forest means anything
_SEED = 0


@dataclass(frozen=True)
class Importance:
    """A parameter's share of what the parameters explain, from 0 to 1; None where it can't be computed.

    PED-ANOVA: what distinguishes the best tenth of all trials. fANOVA: what explains the spread of all values, among
    the `trials` that have the parameter and over what all of them have.
    """

    parameter: str
    ped_anova: float | None
    fanova: float | None
    trials: int


def importances(completed: Sequence[FrozenTrial]) -> list[Importance]:
    """Of each parameter, most important first; empty for fewer than four trials and where all values are equal.

    The trials have one value, AUROC (`auroc_study`).
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
    """True if these trials have several values of the parameter."""
    return len({repr(trial.params[name]) for trial in trials if name in trial.params}) > 1


def _comparable(trials: Sequence[FrozenTrial]) -> bool:
    return len(trials) >= _FEWEST and len({trial.value for trial in trials}) > 1


def _fanova(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    # Optuna's intersection leaves out a parameter whose range was changed half way
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
        # Optuna's own normalization gives equal shares where no parameter made any difference
        weights = get_param_importances(study, evaluator=evaluator, params=list(names), normalize=False)
    total = sum(weights.values())
    return {name: float(weight / total) for name, weight in weights.items()} if total > 0 else {}
