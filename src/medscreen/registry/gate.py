"""The gate to Production: whether a detector may be promoted, as a pure function of its scores on `val`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medscreen.config.operating import SpecificityPolicy
from medscreen.config.promotion import PromotionParams
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.calibration_error import ece_by_chance
from medscreen.evaluation.metrics import METRICS
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.paired_comparison import paired_lower_bound
from medscreen.evaluation.sample_size import FEWEST, short_classes
from medscreen.operating.threshold_policies import choose_threshold


@dataclass(frozen=True)
class Contestant:
    """A packaged detector and its outcomes on the N images of `val`.

    `digest` identifies the package, `run_key` the training: equal keys and another digest are one network at two
    operating points. `unseen` (N,): the images of people it was not trained on.
    """

    detector: str
    digest: str
    run_key: str
    val: Outcomes
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate(Contestant):
    """A detector that may go to Production; `baselines`: name -> outcomes on the same images.

    `leaked_images`: how many of val and test another split shares. `rivals`: how many candidates are tried against the
    champion together, this one included. `rolled_back`: when and why it was taken out of Production; `passed_over`:
    when a person chose another version although this one was there; "" if not so.
    """

    is_baseline: bool
    baselines: Mapping[str, Outcomes]
    leaked_images: int = 0
    rivals: int = 1
    rolled_back: str = ""
    passed_over: str = ""


@dataclass(frozen=True)
class Champion(Contestant):
    """The version in Production."""

    version: int


@dataclass(frozen=True)
class LostChampion:
    """A version in Production that can't be scored again, and why."""

    version: int
    detector: str
    digest: str
    reason: str


@dataclass(frozen=True)
class Check:
    """One condition of the gate; `says` has the numbers, `bound` the lower one of a difference that was tested."""

    name: str
    passed: bool
    says: str
    bound: float | None = None


@dataclass(frozen=True)
class Decision:
    """The gate's decision on a candidate.

    `verdict`: promote, refused, baseline, or champion of what is in Production already. `value`: the metric on the
    images of `val` that were compared, None where it is not defined.
    """

    detector: str
    metric: str
    value: float | None
    verdict: str
    reason: str
    checks: tuple[Check, ...]


def decide(
    candidate: Candidate, champion: Champion | LostChampion | None, policy: PromotionParams, bootstrap: Bootstrap
) -> Decision:
    """Promotes a candidate that meets every condition of the policy; a tie keeps the champion.

    Bounds are one-sided, of a paired bootstrap over patients; the error that `policy.confidence` leaves is shared by
    the rivals (Bonferroni), so that trying many candidates at once promotes a lucky one no more often.
    """
    known = candidate.unseen & champion.unseen if isinstance(champion, Champion) else candidate.unseen
    one_sided = replace(bootstrap, confidence=1 - (1 - policy.confidence) / candidate.rivals)
    trial = _Trial(candidate, np.flatnonzero(known), policy, one_sided)
    metric, value = f"val/{policy.metric}", _metric(policy.metric, trial.val)
    if candidate.is_baseline:
        return Decision(candidate.detector, metric, value, "baseline", "a baseline is never promoted", ())
    if champion is not None and champion.digest == candidate.digest:
        reason = f"{candidate.detector} is in Production already, as version {champion.version}"
        return Decision(candidate.detector, metric, value, "champion", reason, ())
    few = trial.few_patients()
    # bounds from so few patients are no evidence for or against: nothing is computed from them
    checks = [few] if few else [*trial.measured()]
    checks += trial.recorded()
    if champion is not None and not few:
        checks.append(trial.against(champion))
    failed = [check.says for check in checks if not check.passed]
    reason = "; ".join(failed or [check.says for check in checks if check.name in {"baseline", "champion"}])
    return Decision(candidate.detector, metric, value, "refused" if failed else "promote", reason, tuple(checks))


@dataclass(frozen=True)
class _Trial:
    """A candidate on the images that it is judged on, with the bootstrap of the gate's bounds."""

    candidate: Candidate
    images: NDArray[np.int64]
    policy: PromotionParams
    bootstrap: Bootstrap

    @property
    def val(self) -> Outcomes:
        return self.candidate.val.take(self.images)

    def few_patients(self) -> Check | None:
        """A failed check where a class has too few patients on `val` to judge by; None where both have enough."""
        short = short_classes(self.val)
        if not short:
            return None
        counts = " and ".join(
            f"{number} patient{'' if number == 1 else 's'} of class {name}" for name, number in short.items()
        )
        is_whole = len(self.images) == len(self.candidate.val.labels)
        seen = "" if is_whole else " that neither the candidate nor the champion has seen"
        return Check("patients", False, f"val has {counts}{seen}; at least {FEWEST} are needed")

    def measured(self) -> Iterator[Check]:
        """The conditions on the candidate's own figures."""
        val, policy = self.val, self.policy
        area = _metric("auroc", val)
        way = "right" if area is not None and area >= 0.5 else "wrong"
        yield Check("direction", way == "right", f"its score points the {way} way (AUROC on val {_formatted(area)})")
        yield self._over_baseline()
        floor = policy.sensitivity
        at = SpecificityPolicy(policy="specificity", at_least=floor.at_specificity)
        reached = _metric("sensitivity", val.at(choose_threshold(at, val.scores, val.labels)))
        says = (
            f"sensitivity {_formatted(reached)} at specificity {floor.at_specificity:g} (at least {floor.at_least:g})"
        )
        yield Check("sensitivity", reached is not None and reached >= floor.at_least, says)
        # the threshold it would serve with: scores that rank well may still be cut in the wrong place
        reached, least = _metric("balanced_accuracy", val), policy.min_balanced_accuracy
        says = f"balanced accuracy {_formatted(reached)} at its own threshold (at least {least:g})"
        yield Check("threshold", reached is not None and reached >= least, says)
        # an error that chance explains is no fault: few images show one even where every probability is right
        error, most = None if val.probabilities is None else _metric("ece", val), policy.max_calibration_error
        chance = None if error is None else ece_by_chance(val, self.bootstrap)["high"]
        says = f"calibration error {_formatted(error)} (at most {most:g}; by chance up to {_formatted(chance)})"
        yield Check("calibration", error is not None and error <= max(most, chance or 0), says)

    def _over_baseline(self) -> Check:
        name, margin, baselines = self.policy.metric, self.policy.margin_over_baseline, self.candidate.baselines
        if not baselines:
            says = "the roster has no one-line baseline to beat: add one (kind: statistic) to detectors:"
            return Check("baseline", False, says)
        values = {baseline: _metric(name, of.take(self.images)) for baseline, of in baselines.items()}
        defined = {baseline: value for baseline, value in values.items() if value is not None}
        if not defined:
            return Check("baseline", False, f"val/{name} of the baseline is not defined")
        best = max(defined, key=lambda baseline: defined[baseline])
        passed, bound = self._bound(baselines[best], margin)
        return Check(
            "baseline",
            passed,
            f"val/{name} {_formatted(_metric(name, self.val))} {'beats' if passed else 'does not beat'} the baseline "
            f"{best} ({_formatted(defined[best])}) by more than {margin:g}: "
            f"lower bound of the difference {_formatted(bound)}",
            bound,
        )

    def _bound(self, other: Outcomes, margin: float) -> tuple[bool, float | None]:
        """The lower bound of the difference in the metric (None: not defined), and whether it is above a margin."""
        bound = paired_lower_bound(self.val, other.take(self.images), self.policy.metric, self.bootstrap)
        return bound is not None and bound > margin, bound

    def recorded(self) -> Iterator[Check]:
        """The conditions on the data's audit, and on what people decided before."""
        leaked, most = self.candidate.leaked_images, self.policy.max_leaked_images
        yield Check(
            "leaks",
            leaked <= most,
            f"val and test share {leaked} images or their patients with another split (at most {most}; leaks in "
            "reports/curation.json)",
        )
        rolled_back, passed_over = self.candidate.rolled_back, self.candidate.passed_over
        yield Check("rollback", not rolled_back, rolled_back or "it was never rolled back")
        yield Check("choice", not passed_over, passed_over or "no person chose another one over it")

    def against(self, champion: Champion | LostChampion) -> Check:
        """The condition on the version in Production."""
        name, margin = self.policy.metric, self.policy.margin_over_champion
        in_production = f"version {champion.version} ({champion.detector}) in Production"
        if isinstance(champion, LostChampion):
            return Check("champion", False, f"{in_production} can't be compared with: {champion.reason}")
        if champion.run_key == self.candidate.run_key:
            return Check("champion", True, f"{in_production} is the same network, this is its new operating point")
        passed, bound = self._bound(champion.val, margin)
        values = [_formatted(_metric(name, of)) for of in (self.val, champion.val.take(self.images))]
        return Check(
            "champion",
            passed,
            f"{'' if passed else 'not '}better than {in_production} by more than {margin:g}: {' against '.join(values)}"
            f" on {len(self.images)} images, lower bound of the difference {_formatted(bound)}",
            bound,
        )


def _metric(name: str, outcomes: Outcomes) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(np.unique(outcomes.labels)) < 2:
            return None
        value = float(METRICS[name](outcomes, np.ones((1, len(outcomes.labels))))[0])
    return round(value, 6) if np.isfinite(value) else None


def _formatted(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
