"""The points of curves and histograms, for pictures and tables alike."""

from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from medscreen.evaluation.outcomes import Outcomes

_BINS = 40
_CURVE_POINTS = 400


def roc_points(outcomes: Outcomes) -> tuple[Any, Any]:
    """False-positive rate and sensitivity."""
    false_positive_rate, sensitivity, _ = roc_curve(outcomes.labels, outcomes.scores)
    return _thinned(false_positive_rate, sensitivity)


def precision_recall_points(outcomes: Outcomes) -> tuple[Any, Any]:
    """Recall and precision."""
    precision, recall, _ = precision_recall_curve(outcomes.labels, outcomes.scores)
    return _thinned(recall, precision)


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """At most _CURVE_POINTS points: a curve of thousands makes a plot no truer, only slower."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).round().astype(int))
    return np.round(x[keep], 6), np.round(y[keep], 6)


def histogram(outcomes: Outcomes) -> tuple[Any, list[Any]]:
    """Edges, and counts of the normal and of the abnormal images."""
    edges = np.histogram_bin_edges(outcomes.scores, _BINS)
    return edges, [np.histogram(outcomes.scores[outcomes.labels == label], edges)[0] for label in (0, 1)]
