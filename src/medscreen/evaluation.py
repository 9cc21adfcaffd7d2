"""Scores and labels -> metrics with bootstrap intervals; knows no detector."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[["Outcomes", Floats], Floats]


class Estimate(TypedDict):
    """A metric and the ends of its interval; None where it is not defined (a ratio over nothing)."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Outcomes:
    """What a detector said of N images and what is true; every array is (N,).

    `labels`: 0 normal, 1 abnormal. `abnormal`: the decision at the operating point. `patients`: whose image it
    is; images of one patient are resampled together. `score_at_half`: see detectors.protocol.
    """

    labels: NDArray[np.int64]
    scores: Floats
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]
    score_at_half: float | None

    def take(self, index: NDArray[np.int64]) -> "Outcomes":
        """The outcomes at these positions."""
        return Outcomes(
            self.labels[index],
            self.scores[index],
            self.abnormal[index],
            self.patients[index],
            self.score_at_half,
        )


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap over patients (Efron, Tibshirani 1993, chapter 13)."""

    resamples: int
    confidence: float
    seed: int

    def weights(self, patients: NDArray[np.int64]) -> Floats:
        """(resamples + 1, N): how often each image is drawn; row 0 is the sample itself."""
        people, person_of = np.unique(patients, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), size=self.resamples)
        return np.vstack([np.ones(len(patients)), drawn[:, person_of]])

    def estimate(self, values: Floats) -> Estimate:
        """From a metric's value on each row of the weights; undefined resamples are left out."""
        resampled = values[1:][np.isfinite(values[1:])]
        if not np.isfinite(values[0]) or len(resampled) == 0:
            return {"value": None, "low": None, "high": None}
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return {"value": _rounded(values[0]), "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float:
    return round(float(value), 6)


def evaluate(outcomes: Outcomes, bootstrap: Bootstrap, metrics: list[str] | None = None) -> dict[str, Estimate]:
    """Each metric (default: all that apply) with its interval."""
    weights = bootstrap.weights(outcomes.patients)
    if metrics is None:
        metrics = [name for name in METRICS if name != "accuracy_at_half" or outcomes.score_at_half is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: bootstrap.estimate(METRICS[name](outcomes, weights)) for name in metrics}


def balanced_view(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions of all images of the rarer class and as many, drawn at random, of the other; sorted."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    number = min(len(positions) for positions in classes)
    chosen = [rng.choice(positions, number, replace=False) for positions in classes]
    return np.sort(np.concatenate(chosen))


def confusion(outcomes: Outcomes) -> dict[str, int]:
    """Counts of true and false, positive and negative."""
    truth, called = outcomes.labels == 1, outcomes.abnormal
    return {
        "true_negative": int((~truth & ~called).sum()),
        "false_positive": int((~truth & called).sum()),
        "false_negative": int((truth & ~called).sum()),
        "true_positive": int((truth & called).sum()),
    }


def auroc(outcomes: Outcomes, weights: Floats) -> Floats:
    """Area under the ROC curve: P(abnormal scores higher than normal), ties counting half; per row of weights."""
    positive, negative = _by_score(outcomes, weights)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    area: Floats = wins / (positive.sum(axis=1) * negative.sum(axis=1))
    return area


def average_precision(outcomes: Outcomes, weights: Floats) -> Floats:
    """Precision averaged over the steps of recall, from the highest score down; per row of weights."""
    positive, negative = (counts[:, ::-1] for counts in _by_score(outcomes, weights))
    found, false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    precision = np.divide(found, found + false, out=np.zeros_like(found), where=found + false > 0)
    average: Floats = (positive * precision).sum(axis=1) / positive.sum(axis=1)
    return average


def _by_score(outcomes: Outcomes, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of the abnormal and of the normal images at each distinct score, ascending; per row."""
    order = np.argsort(outcomes.scores, kind="stable")
    ranked = outcomes.scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1]]))
    weighted, truth = weights[:, order], outcomes.labels[order] == 1
    return np.add.reduceat(weighted * truth, starts, axis=1), np.add.reduceat(weighted * ~truth, starts, axis=1)


def _share(of: str, among: str) -> Metric:
    """The metric: weight of the images where `of` holds, divided by that of those where `among` holds."""

    def metric(outcomes: Outcomes, weights: Floats) -> Floats:
        truth, called = outcomes.labels == 1, outcomes.abnormal
        masks = {
            "all": np.ones_like(called),
            "abnormal": truth,
            "normal": ~truth,
            "called": called,
            "not called": ~called,
            "right": truth == called,
            "true positive": truth & called,
            "true negative": ~truth & ~called,
            "false positive": ~truth & called,
            "false negative": truth & ~called,
        }
        share: Floats = (weights @ masks[of]) / (weights @ masks[among])
        return share

    return metric


def _balanced_accuracy(outcomes: Outcomes, weights: Floats) -> Floats:
    return (METRICS["sensitivity"](outcomes, weights) + METRICS["specificity"](outcomes, weights)) / 2


def _f1(outcomes: Outcomes, weights: Floats) -> Floats:
    truth, called = outcomes.labels == 1, outcomes.abnormal
    f1: Floats = 2 * (weights @ (truth & called)) / (weights @ truth + weights @ called)
    return f1


def _accuracy_at_half(outcomes: Outcomes, weights: Floats) -> Floats:
    if outcomes.score_at_half is None:
        raise ValueError("the detector claims no probability, so it has no accuracy at one half")
    right = (outcomes.scores >= outcomes.score_at_half) == (outcomes.labels == 1)
    accuracy: Floats = (weights @ right) / weights.sum(axis=1)
    return accuracy


METRICS: dict[str, Metric] = {
    "auroc": auroc,
    "average_precision": average_precision,
    "accuracy": _share("right", "all"),
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": _share("true positive", "abnormal"),
    "specificity": _share("true negative", "normal"),
    "ppv": _share("true positive", "called"),
    "npv": _share("true negative", "not called"),
    "f1": _f1,
    "false_positive_rate": _share("false positive", "normal"),
    "false_negative_rate": _share("false negative", "abnormal"),
    "accuracy_at_half": _accuracy_at_half,
}
