"""The gate to Production: whether a detector deserves it, as a pure function of what was said of `val`."""

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
    """A packaged detector and what it says of the N images of `val`.

    `digest` names the package, `run_key` the training: equal keys and another digest are one network at two operating
    points. `unseen` (N,): the images of people it was not trained on.
    """

    detector: str
    digest: str
    run_key: str
    val: Outcomes
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate(Contestant):
    """A detector that may go to Production; `baselines`: name -> what it says of the same images.

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
    """What the gate says of a candidate.

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
    known = candidate.unseen if not isinstance(champion, Champion) else candidate.unseen & champion.unseen
    images = np.flatnonzero(known)
    value = _metric(policy.metric, candidate.val.take(images))
    metric = f"val/{policy.metric}"
    if candidate.is_baseline:
        return Decision(candidate.detector, metric, value, "baseline", "a baseline is never promoted", ())
    if champion is not None and champion.digest == candidate.digest:
        said = f"{candidate.detector} is in Production already, as version {champion.version}"
        return Decision(candidate.detector, metric, value, "champion", said, ())
    one_sided = replace(bootstrap, confidence=1 - (1 - policy.confidence) / candidate.rivals)
    few = _few_patients(candidate, images)
    # bounds from so few patients are no evidence for or against: nothing is computed from them
    checks = [few] if few else [*_measured(candidate, images, policy, one_sided)]
    checks += _recorded(candidate, policy)
    if champion is not None and not few:
        checks.append(_against(champion, candidate, images, policy, one_sided))
    failed = [check.says for check in checks if not check.passed]
    reason = "; ".join(failed or [check.says for check in checks if check.name in _TOLD])
    verdict = "refused" if failed else "promote"
    return Decision(candidate.detector, metric, value, verdict, reason, tuple(checks))


# of a promotion, what is said besides the checks themselves
_TOLD = ("baseline", "champion")


def _few_patients(candidate: Candidate, images: NDArray[np.int64]) -> Check | None:
    """A failed check where a class has too few patients on `val` to judge by; None where both have enough."""
    short = short_classes(candidate.val.take(images))
    if not short:
        return None
    counts = " and ".join(
        f"{number} patient{'' if number == 1 else 's'} of class {name}" for name, number in short.items()
    )
    seen = "" if len(images) == len(candidate.val.labels) else " that neither the candidate nor the champion has seen"
    return Check("patients", False, f"val has {counts}{seen}; at least {FEWEST} are needed")


def _measured(
    candidate: Candidate, images: NDArray[np.int64], policy: PromotionParams, bootstrap: Bootstrap
) -> Iterator[Check]:
    """The conditions on the candidate's own figures."""
    val = candidate.val.take(images)
    area = _metric("auroc", val)
    way = "right" if area is not None and area >= 0.5 else "wrong"
    yield Check("direction", way == "right", f"its score points the {way} way (AUROC on val {_shown(area)})")
    yield _over_baseline(candidate, images, policy, bootstrap)
    yield _sensitive(val, policy)
    yield _decides(val, policy)
    yield _calibrated(val, policy, bootstrap)


def _recorded(candidate: Candidate, policy: PromotionParams) -> Iterator[Check]:
    """The conditions on the data's audit, and on what people decided before."""
    yield Check(
        "leaks",
        candidate.leaked_images <= policy.max_leaked_images,
        f"val and test share {candidate.leaked_images} images or their patients with another split "
        f"(at most {policy.max_leaked_images}; leaks in reports/curation.json)",
    )
    yield Check("rollback", not candidate.rolled_back, candidate.rolled_back or "it was never rolled back")
    yield Check("choice", not candidate.passed_over, candidate.passed_over or "no person chose another one over it")


def _over_baseline(
    candidate: Candidate, images: NDArray[np.int64], policy: PromotionParams, bootstrap: Bootstrap
) -> Check:
    values = {name: _metric(policy.metric, said.take(images)) for name, said in candidate.baselines.items()}
    defined = {name: value for name, value in values.items() if value is not None}
    if not defined:
        missing = f"val/{policy.metric} of the baseline is not defined"
        if not values:
            missing = "the roster has no one-line baseline to beat: add one (kind: statistic) to detectors:"
        return Check("baseline", False, missing)
    best = max(defined, key=lambda name: defined[name])
    lead = _lead(candidate.val, candidate.baselines[best], images, policy, bootstrap)
    value = _metric(policy.metric, candidate.val.take(images))
    passed = lead is not None and lead > policy.margin_over_baseline
    return Check(
        "baseline",
        passed,
        f"val/{policy.metric} {_shown(value)} {'beats' if passed else 'does not beat'} the baseline {best} "
        f"({_shown(defined[best])}) by more than {policy.margin_over_baseline:g}: lower bound of the difference "
        f"{_shown(lead)}",
        lead,
    )


def _sensitive(val: Outcomes, policy: PromotionParams) -> Check:
    floor = policy.sensitivity
    at = SpecificityPolicy(policy="specificity", at_least=floor.at_specificity)
    reached = _metric("sensitivity", val.at(choose_threshold(at, val.scores, val.labels)))
    return Check(
        "sensitivity",
        reached is not None and reached >= floor.at_least,
        f"sensitivity {_shown(reached)} at specificity {floor.at_specificity:g} (at least {floor.at_least:g})",
    )


def _decides(val: Outcomes, policy: PromotionParams) -> Check:
    """The threshold it would serve with: scores that rank well say nothing of it."""
    reached = _metric("balanced_accuracy", val)
    return Check(
        "threshold",
        reached is not None and reached >= policy.min_balanced_accuracy,
        f"balanced accuracy {_shown(reached)} at its own threshold (at least {policy.min_balanced_accuracy:g})",
    )


def _calibrated(val: Outcomes, policy: PromotionParams, bootstrap: Bootstrap) -> Check:
    """An error that chance explains is no fault: few images show one even where every probability is right."""
    error = None if val.probabilities is None else _metric("ece", val)
    chance = None if error is None else ece_by_chance(val, bootstrap)["high"]
    return Check(
        "calibration",
        error is not None and error <= max(policy.max_calibration_error, chance or 0),
        f"calibration error {_shown(error)} (at most {policy.max_calibration_error:g}; by chance up to "
        f"{_shown(chance)})",
    )


def _against(
    champion: Champion | LostChampion,
    candidate: Candidate,
    images: NDArray[np.int64],
    policy: PromotionParams,
    bootstrap: Bootstrap,
) -> Check:
    held = f"version {champion.version} ({champion.detector}) in Production"
    if isinstance(champion, LostChampion):
        return Check("champion", False, f"{held} can't be compared with: {champion.reason}")
    if champion.run_key == candidate.run_key:
        return Check("champion", True, f"{held} is the same network, this is its new operating point")
    lead = _lead(candidate.val, champion.val, images, policy, bootstrap)
    passed = lead is not None and lead > policy.margin_over_champion
    values = " against ".join(_shown(_metric(policy.metric, one.val.take(images))) for one in (candidate, champion))
    return Check(
        "champion",
        passed,
        f"{'' if passed else 'not '}better than {held} by more than {policy.margin_over_champion:g}: {values} on "
        f"{len(images)} images, lower bound of the difference {_shown(lead)}",
        lead,
    )


def _lead(
    candidate: Outcomes, other: Outcomes, images: NDArray[np.int64], policy: PromotionParams, bootstrap: Bootstrap
) -> float | None:
    """The lower bound of the difference in the metric, None where it is not defined."""
    return paired_lower_bound(candidate.take(images), other.take(images), policy.metric, bootstrap)


def _metric(name: str, outcomes: Outcomes) -> float | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(np.unique(outcomes.labels)) < 2:
            return None
        value = float(METRICS[name](outcomes, np.ones((1, len(outcomes.labels))))[0])
    return round(value, 6) if np.isfinite(value) else None


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
