"""Which detector of a roster may go to Production: a pure function of numbers on `val`."""

from collections.abc import Sequence
from dataclasses import dataclass

from medscreen.params import PromotionParams


@dataclass(frozen=True)
class Candidate:
    """A detector of the roster. `value`: the promotion metric on `val`, None where it is not defined.

    `run_key` names the training: equal keys and another digest are one network at two operating points.
    """

    detector: str
    digest: str
    value: float | None
    is_baseline: bool
    run_key: str = ""


@dataclass(frozen=True)
class Champion:
    """The version in Production. `value` is None where its metric was measured on another `val` split."""

    detector: str
    digest: str
    version: int
    value: float | None
    run_key: str = ""


@dataclass(frozen=True)
class Standing:
    """What was decided of one detector, and why."""

    detector: str
    value: float | None
    verdict: str  # promoted, champion, refused or baseline
    reason: str


@dataclass(frozen=True)
class Decision:
    """`promote` is the candidate to put into Production, None where nothing is to change."""

    promote: Candidate | None
    metric: str
    reason: str
    standings: tuple[Standing, ...]


def decide(candidates: Sequence[Candidate], champion: Champion | None, params: PromotionParams) -> Decision:
    """The best candidate on `val` if it beats the best baseline, and the champion where they compare.

    A tie keeps the champion; the champion's own network at another operating point takes its place.
    """
    metric = f"val/{params.metric}"
    baselines = [c for c in candidates if c.is_baseline and c.value is not None]
    if not baselines:
        reason = "the roster has no one-line baseline to beat; add one (kind: gradient) to detectors:"
        if any(c.is_baseline for c in candidates):
            reason = f"{metric} of the baseline is not defined, so nothing can be shown to beat it"
        return _decision(candidates, metric, None, {}, reason)
    baseline = max(baselines, key=_value)
    bar = _value(baseline) + params.margin_over_baseline
    refused = {
        c.detector: f"{metric} {_shown(c.value)} does not beat the baseline {baseline.detector} ({_shown(bar)})"
        for c in candidates
        if c.value is None or c.value <= bar
    }
    contenders = [c for c in candidates if not c.is_baseline and c.detector not in refused]
    if not contenders:
        return _decision(candidates, metric, None, refused, f"no detector beats the baseline {baseline.detector}")
    held = champion.digest if champion else ""
    best = max(contenders, key=lambda candidate: (_value(candidate), candidate.digest == held))
    for contender in contenders:
        if contender is not best:
            behind = _value(best) - _value(contender)
            refused[contender.detector] = f"{best.detector} is better by {behind:.4f}"
    if champion is not None and champion.digest == best.digest:
        return _decision(candidates, metric, None, refused, f"{best.detector} is in Production already", best)
    if champion is not None and best.run_key and champion.run_key == best.run_key:
        reason = f"{best.detector} is in Production as version {champion.version}; this is its new operating point"
        return _decision(candidates, metric, best, refused, reason, best)
    if champion is not None and champion.value is not None and _value(best) <= champion.value:
        reason = (
            f"{metric} {_shown(best.value)} is not better than the {_shown(champion.value)} of version "
            f"{champion.version} ({champion.detector}) in Production"
        )
        refused[best.detector] = reason
        return _decision(candidates, metric, None, refused, reason)
    margin = f"beats the baseline {baseline.detector} by {_value(best) - _value(baseline):.4f}"
    if champion is not None and champion.value is not None:
        margin += f" and version {champion.version} ({champion.detector}) by {_value(best) - champion.value:.4f}"
    elif champion is not None:
        margin += f"; version {champion.version} was judged on other images"
    reason = f"{best.detector}: {metric} {_shown(best.value)} {margin}"
    return _decision(candidates, metric, best, refused, reason, best)


def _decision(
    candidates: Sequence[Candidate],
    metric: str,
    promote: Candidate | None,
    refused: dict[str, str],
    reason: str,
    winner: Candidate | None = None,
) -> Decision:
    standings = []
    for candidate in candidates:
        if candidate is winner:
            verdict, why = ("promoted" if promote else "champion"), reason
        elif candidate.is_baseline:
            verdict, why = "baseline", "a baseline is never promoted"
        else:
            verdict, why = "refused", refused.get(candidate.detector, reason)
        standings.append(Standing(candidate.detector, candidate.value, verdict, why))
    return Decision(promote, metric, reason, tuple(standings))


def _value(candidate: Candidate) -> float:
    return float("-inf") if candidate.value is None else candidate.value


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
