"""Metrics of binary decisions and scores, vectorized over bootstrap resamples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.calibration_error import brier, ece
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.proportion_intervals import clustered
from medscreen.evaluation.sample_size import CLASSES, supported

Metric = Callable[[Outcomes, Floats], Floats]
"""Maps outcomes of N images and weights (R, N), see `Bootstrap.weights`, to values (R,)."""

_AT_ONCE = 1 << 18  # weights


def evaluate(outcomes: Outcomes, bootstrap: Bootstrap, metrics: list[str] | None = None) -> dict[str, Estimate]:
    """Metrics (default: all that apply) with intervals.

    Proportions have a Wilson interval for the effective number of images, other metrics a percentile interval over
    resampled patients, `ece` none. A metric of a class with too few patients (`sample_size`) has a value and no
    interval. Raises ValueError for a metric whose inputs the outcomes lack.
    """
    weights = bootstrap.weights(outcomes.patients)
    if metrics is None:
        metrics = [name for name in METRICS if name not in _NEEDS or getattr(outcomes, _NEEDS[name]) is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: _estimated(name, outcomes, weights, bootstrap) for name in metrics}


def _estimated(name: str, outcomes: Outcomes, weights: Floats, bootstrap: Bootstrap) -> Estimate:
    metric = METRICS[name]
    values = metric(outcomes, weights)
    if isinstance(metric, Share):
        counted = np.flatnonzero(metric.among_of(outcomes))
        found = clustered(values, len(counted), len(np.unique(outcomes.patients[counted])), bootstrap.confidence)
        return supported(found, outcomes, classes_of(name))
    found = bootstrap.estimate(values)
    # no interval: resampling biases the ECE upward; its reference is `calibration_error.ece_by_chance`
    return found | {"low": None, "high": None} if name == "ece" else supported(found, outcomes)


def classes_of(metric: str) -> tuple[str, ...]:
    """Classes that a metric is computed from: one for a proportion within a class, else both."""
    among = getattr(METRICS[metric], "among", None)
    return (among,) if among in CLASSES else CLASSES


def auroc(outcomes: Outcomes, weights: Floats) -> Floats:
    """Area under the ROC curve: P(abnormal scores higher than normal), ties counting half; `weights` (R, N) -> (R,)."""
    # in chunks of rows: intermediate arrays take several times the memory of the weights
    pieces = np.array_split(weights, max(1, min(len(weights), weights.size // _AT_ONCE)))
    return np.concatenate([_areas(outcomes, piece) for piece in pieces])


def _areas(outcomes: Outcomes, weights: Floats) -> Floats:
    positive, negative = _by_score(outcomes, weights)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    area: Floats = wins / (positive.sum(axis=1) * negative.sum(axis=1))
    return area


def average_precision(outcomes: Outcomes, weights: Floats) -> Floats:
    """Average precision: precision weighted by the steps of recall; `weights` (R, N) -> (R,)."""
    positive, negative = (counts[:, ::-1] for counts in _by_score(outcomes, weights))
    found, false = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    precision = np.divide(found, found + false, out=np.zeros_like(found), where=found + false > 0)
    average: Floats = (positive * precision).sum(axis=1) / positive.sum(axis=1)
    return average


def _by_score(outcomes: Outcomes, weights: Floats) -> tuple[Floats, Floats]:
    """Weights of abnormal and of normal images at each distinct score, ascending; per row."""
    order = np.argsort(outcomes.scores, kind="stable")
    ranked = outcomes.scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1]])[: len(ranked)])
    weighted, truth = weights[:, order], outcomes.labels[order] == 1
    return np.add.reduceat(weighted * truth, starts, axis=1), np.add.reduceat(weighted * ~truth, starts, axis=1)


@dataclass(frozen=True)
class Share:
    """Proportion metric: weight of the images in mask `of`, divided by that in mask `among`; keys of `_masks`."""

    of: str
    among: str

    def __call__(self, outcomes: Outcomes, weights: Floats) -> Floats:
        """Proportions; `weights` (R, N) -> (R,)."""
        masks = _masks(outcomes)
        share: Floats = (weights @ masks[self.of]) / (weights @ masks[self.among])
        return share

    def among_of(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """(N,): mask of the denominator."""
        return _masks(outcomes)[self.among]


def _masks(outcomes: Outcomes) -> dict[str, NDArray[np.bool_]]:
    truth, called = outcomes.labels == 1, outcomes.abnormal
    deferred = np.zeros_like(called) if outcomes.deferred is None else outcomes.deferred
    return {
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
        "deferred": deferred,
        "kept": ~deferred,
        "wrong deferred": deferred & (truth != called),
        "wrong kept": ~deferred & (truth != called),
    }


def _balanced_accuracy(outcomes: Outcomes, weights: Floats) -> Floats:
    return (METRICS["sensitivity"](outcomes, weights) + METRICS["specificity"](outcomes, weights)) / 2


def _f1(outcomes: Outcomes, weights: Floats) -> Floats:
    truth, called = outcomes.labels == 1, outcomes.abnormal
    f1: Floats = 2 * (weights @ (truth & called)) / (weights @ truth + weights @ called)
    return f1


def _accuracy_at_half(outcomes: Outcomes, weights: Floats) -> Floats:
    if outcomes.decision_boundary is None:
        raise ValueError("the detector has no probabilities, so its accuracy at probability 0.5 is undefined")
    right = (outcomes.scores >= outcomes.decision_boundary) == (outcomes.labels == 1)
    accuracy: Floats = (weights @ right) / weights.sum(axis=1)
    return accuracy


METRICS: dict[str, Metric] = {
    "auroc": auroc,
    "average_precision": average_precision,
    "accuracy": Share("right", "all"),
    "balanced_accuracy": _balanced_accuracy,
    "sensitivity": Share("true positive", "abnormal"),
    "specificity": Share("true negative", "normal"),
    "ppv": Share("true positive", "called"),
    "npv": Share("true negative", "not called"),
    "f1": _f1,
    "false_positive_rate": Share("false positive", "normal"),
    "false_negative_rate": Share("false negative", "abnormal"),
    "accuracy_at_half": _accuracy_at_half,
    "coverage": Share("kept", "all"),
    "error_kept": Share("wrong kept", "kept"),
    "error_deferred": Share("wrong deferred", "deferred"),
    "brier": brier,
    "ece": ece,
}

# metric -> optional field of the outcomes that it needs
_NEEDS = {"accuracy_at_half": "decision_boundary", "brier": "probabilities", "ece": "probabilities"}
_NEEDS |= dict.fromkeys(("coverage", "error_kept", "error_deferred"), "deferred")
