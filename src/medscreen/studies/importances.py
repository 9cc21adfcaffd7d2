"""How much each parameter mattered to tune AUROC, by two methods."""

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

FEWEST = 4  # of fewer trials, a tenth of the best and a forest of regression trees say nothing
_SEED = 0


@dataclass(frozen=True)
class Importance:
    """A parameter's shares of what the parameters explain, from 0 to 1; None where nothing can be said.

    PED-ANOVA asks what tells the best tenth of all trials from the others. fANOVA asks what explains the spread of all
    values; it knows no parameters of some trials only, so that each is judged over the `trials` that have it, beside
    all that they have in common.
    """

    parameter: str
    ped_anova: float | None
    fanova: float | None
    trials: int

    @property
    def said(self) -> bool:
        """Whether one of the two says anything."""
        return self.ped_anova is not None or self.fanova is not None


def importances(completed: Sequence[FrozenTrial]) -> list[Importance]:
    """Of each parameter of these trials, most important first.

    Empty for fewer than four trials and where all values are equal.
    """
    if not _can_say(completed):
        return []
    holders: dict[tuple[int, ...], list[str]] = {}
    for name in sorted({name for trial in completed for name in trial.params}):
        having = tuple(i for i, trial in enumerate(completed) if name in trial.params)
        holders.setdefault(having, []).append(name)
    told = [
        name
        for having, names in holders.items()
        for name in names
        if len(having) >= FEWEST and _varies(name, [completed[i] for i in having])
    ]
    ped_anova = _shares(PedAnovaImportanceEvaluator(), completed, sorted(told))
    rows = []
    for having, names in holders.items():
        fanova = _fanova([completed[i] for i in having]) if set(names) & set(told) else {}
        rows += [Importance(name, ped_anova.get(name), fanova.get(name), len(having)) for name in names]
    every = len(completed)
    return sorted(rows, key=lambda row: (-(row.ped_anova or 0) - (row.fanova or 0) * row.trials / every, row.parameter))


def _can_say(trials: Sequence[FrozenTrial]) -> bool:
    return len(trials) >= FEWEST and len({trial.values[0] for trial in trials}) > 1


def _fanova(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Of what all these trials have; the forest would refuse a parameter that was given another range half way."""
    common = [name for name in sorted(trials[0].params) if all(name in trial.params for trial in trials)]
    known = [name for name in common if _varies(name, trials) and _one_range(name, trials)]
    return _shares(FanovaImportanceEvaluator(seed=_SEED), trials, known) if _can_say(trials) else {}


def _varies(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return len({trial.params[name] for trial in trials}) > 1


def _one_range(name: str, trials: Sequence[FrozenTrial]) -> bool:
    return all(trial.distributions[name] == trials[0].distributions[name] for trial in trials)


def _shares(
    evaluator: BaseImportanceEvaluator, trials: Sequence[FrozenTrial], names: Sequence[str]
) -> dict[str, float]:
    # a parameter alone has all of it, whatever it does
    if len(names) < 2:
        return {}
    with quiet():
        # normalised by Optuna, they would be equal where it saw no difference at all
        study = _of_auroc(trials, names)
        weights = get_param_importances(study, evaluator=evaluator, params=list(names), normalize=False)
    total = sum(weights.values())
    return {name: float(weight / total) for name, weight in weights.items()} if total > 0 else {}


def _of_auroc(trials: Sequence[FrozenTrial], names: Sequence[str]) -> optuna.Study:
    """A study of these parameters and the first objective alone."""
    study = optuna.create_study(direction="maximize")
    for trial in trials:
        own = [name for name in names if name in trial.params]
        study.add_trial(
            optuna.create_trial(
                value=trial.values[0],
                params={name: trial.params[name] for name in own},
                distributions={name: trial.distributions[name] for name in own},
            )
        )
    return study
