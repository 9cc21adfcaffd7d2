"""The promotion gate to Production, as a pure function of outcomes on `val`."""

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

    `digest` identifies the package, `run_key` the training: equal run keys with different digests are one network at
    two operating points. `unseen` (N,): mask of the images of patients who are not in its training data.
    """

    detector: str
    digest: str
    run_key: str
    val: Outcomes
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate(Contestant):
    """A candidate for Production; `baselines`: name -> outcomes on the same images.

    `leaked_images`: number of images of val and test that another split shares. `rivals`: number of candidates compared
    with the champion together, this one included. `rolled_back`: date and reason of a rollback. `passed_over`: reason
    why a manually promoted version has precedence. Both are "" if not applicable.
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
    """A version in Production that can't be scored again, with the reason."""

    version: int
    detector: str
    digest: str
    reason: str


@dataclass(frozen=True)
class Check:
    """One condition of the gate; `says`: the finding with its numbers; `bound`: lower bound of a tested difference."""

    name: str
    passed: bool
    says: str
    bound: float | None = None


@dataclass(frozen=True)
class Decision:
    """The gate's decision on a candidate.

    `verdict`: promote, refused, baseline, or champion (in Production already). `value`: the metric on the compared
    images of `val`, None if undefined.
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

    Bounds are one-sided, from a paired bootstrap over patients. The error rate 1 - `policy.confidence` is divided by
    the number of rivals (Bonferroni), so that many candidates do not raise the chance of a false promotion.
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
    # with too few patients, bootstrap bounds are unreliable and are not computed
    checks = [few] if few else [*trial.measured()]
    checks += trial.recorded()
    if champion is not None and not few:
        checks.append(trial.against(champion))
    failed = [check.says for check in checks if not check.passed]
    reason = "; ".join(failed or [check.says for check in checks if check.name in {"baseline", "champion"}])
    return Decision(candidate.detector, metric, value, "refused" if failed else "promote", reason, tuple(checks))


@dataclass(frozen=True)
class _Trial:
    """A candidate with the images of `val` it is evaluated on, the policy and the bootstrap of the bounds."""

    candidate: Candidate
    images: NDArray[np.int64]
    policy: PromotionParams
    bootstrap: Bootstrap

    @property
    def val(self) -> Outcomes:
        return self.candidate.val.take(self.images)

    def few_patients(self) -> Check | None:
        """A failed check if a class has too few patients on `val`, else None."""
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
        """Checks of the candidate's metrics."""
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
        # at the deployed threshold: a high AUROC does not imply a good threshold
        reached, least = _metric("balanced_accuracy", val), policy.min_balanced_accuracy
        says = f"balanced accuracy {_formatted(reached)} at its own threshold (at least {least:g})"
        yield Check("threshold", reached is not None and reached >= least, says)
        # accept an error within chance: with few images, ECE is above 0 even for perfect calibration
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
        """True if the lower bound of the metric's difference is above a margin, and that bound (None if undefined)."""
        bound = paired_lower_bound(self.val, other.take(self.images), self.policy.metric, self.bootstrap)
        return bound is not None and bound > margin, bound

    def recorded(self) -> Iterator[Check]:
        """Checks of the data's audit for leaks and of earlier manual decisions."""
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
        """Check against the version in Production."""
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
