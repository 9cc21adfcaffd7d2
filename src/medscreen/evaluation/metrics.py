"""Metrics of a detector that says normal or abnormal, each computed for all resamples at once."""

from collections.abc import Callable

import numpy as np

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.calibration import brier, ece
from medscreen.evaluation.outcomes import Floats, Outcomes

Metric = Callable[[Outcomes, Floats], Floats]


def evaluate(outcomes: Outcomes, bootstrap: Bootstrap, metrics: list[str] | None = None) -> dict[str, Estimate]:
    """Each metric (default: all that apply) with its interval; a metric the outcomes have no data for raises."""
    weights = bootstrap.weights(outcomes.patients)
    if metrics is None:
        metrics = [name for name in METRICS if name not in _NEEDS or getattr(outcomes, _NEEDS[name]) is not None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: bootstrap.estimate(METRICS[name](outcomes, weights)) for name in metrics}


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
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1]])[: len(ranked)])
    weighted, truth = weights[:, order], outcomes.labels[order] == 1
    return np.add.reduceat(weighted * truth, starts, axis=1), np.add.reduceat(weighted * ~truth, starts, axis=1)


def _share(of: str, among: str) -> Metric:
    """The metric: weight of the images where `of` holds, divided by that of those where `among` holds."""

    def metric(outcomes: Outcomes, weights: Floats) -> Floats:
        truth, called = outcomes.labels == 1, outcomes.abnormal
        referred = np.zeros_like(called) if outcomes.refer is None else outcomes.refer
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
            "referred": referred,
            "kept": ~referred,
            "wrong referred": referred & (truth != called),
            "wrong kept": ~referred & (truth != called),
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
    "coverage": _share("kept", "all"),
    "error_kept": _share("wrong kept", "kept"),
    "error_referred": _share("wrong referred", "referred"),
    "brier": brier,
    "ece": ece,
}

# metric -> the field of the outcomes that not every detector fills
_NEEDS = {"accuracy_at_half": "score_at_half", "brier": "probabilities", "ece": "probabilities"}
_NEEDS |= dict.fromkeys(("coverage", "error_kept", "error_referred"), "refer")
