"""How much each parameter mattered to tune AUROC, by two methods."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.trial import FrozenTrial

FEWEST = 4  # of fewer trials, a tenth of the best and a forest of regression trees say nothing
_SEED = 0


@dataclass(frozen=True)
class Importance:
    """A parameter's shares of what the parameters explain, from 0 to 1; None where nothing can be said.

    A parameter of some trials only is judged over those `trials` alone, beside all that they have in common: its shares
    can't be held against those of a parameter judged over others.
    """

    parameter: str
    ped_anova: float | None
    fanova: float | None
    trials: int


def importances(completed: Sequence[FrozenTrial]) -> list[Importance]:
    """Of each parameter of these trials: most important first, those that most trials have first.

    Empty for fewer than four trials and where all values are equal. PED-ANOVA asks what tells the best tenth from
    the others, fANOVA what explains the spread of all values.
    """
    if not _can_say(completed):
        return []
    holders: dict[tuple[int, ...], list[str]] = {}
    for name in sorted({name for trial in completed for name in trial.params}):
        having = tuple(i for i, trial in enumerate(completed) if name in trial.params)
        holders.setdefault(having, []).append(name)
    rows = []
    for having, names in holders.items():
        rows += _judged([completed[i] for i in having], names)
    return sorted(rows, key=lambda row: (-row.trials, -(row.ped_anova or 0) - (row.fanova or 0), row.parameter))


def _can_say(trials: Sequence[FrozenTrial]) -> bool:
    return len(trials) >= FEWEST and len({trial.values[0] for trial in trials}) > 1


def _judged(trials: Sequence[FrozenTrial], names: Sequence[str]) -> list[Importance]:
    """`names` are the parameters that these trials have and no other trial."""
    # what never varied or had another range half way has no share, and would make the forest refuse the others
    ranges = [name for name in trials[0].params if all(name in trial.params for trial in trials)]
    common = [name for name in ranges if _varies(name, trials) and len(_ranges(name, trials)) == 1]
    said = _can_say(trials) and any(name in common for name in names)
    ped = _shares(PedAnovaImportanceEvaluator(), trials, common) if said else {}
    fanova = _shares(FanovaImportanceEvaluator(seed=_SEED), trials, common) if said else {}
    return [Importance(name, ped.get(name), fanova.get(name), len(trials)) for name in names]


def _varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return len({trial.params[name] for trial in trials}) > 1


def _ranges(name: str, trials: Sequence[FrozenTrial]) -> list[BaseDistribution]:
    found: list[BaseDistribution] = []
    for trial in trials:
        if trial.distributions[name] not in found:
            found.append(trial.distributions[name])
    return found


def _shares(
    evaluator: BaseImportanceEvaluator, trials: Sequence[FrozenTrial], common: Sequence[str]
) -> dict[str, float]:
    with quiet():
        # normalised by Optuna, they would be equal where it saw no difference at all
        weights = get_param_importances(_of_auroc(trials, common), evaluator=evaluator, normalize=False)
    total = sum(weights.values())
    return {name: float(weight / total) for name, weight in weights.items()} if total > 0 else {}


def _of_auroc(trials: Sequence[FrozenTrial], common: Sequence[str]) -> optuna.Study:
    """A study of these parameters and the first objective alone."""
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        study.add_trial(
            optuna.create_trial(
                value=trial.values[0],
                params={name: trial.params[name] for name in common},
                distributions={name: trial.distributions[name] for name in common},
            )
        )
    return study


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing of studies it makes, and warns of nothing that is new."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
