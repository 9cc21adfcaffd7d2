"""Predictions and labels of images."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Predictions and labels of N images; every array is (N,).

    `labels`: 0 normal, 1 abnormal. `abnormal`: decision at the operating point. `patients`: patient of each image;
    images of one patient are resampled together. `decision_boundary`: see detectors.shared.base.Detector.
    `probabilities`: of abnormal, in 0..1; None without. `deferred`: in the deferral band; None without one.
    """

    labels: NDArray[np.int64]
    scores: Floats
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]
    decision_boundary: float | None
    probabilities: Floats | None = None
    deferred: NDArray[np.bool_] | None = None

    def take(self, index: NDArray[np.int64]) -> "Outcomes":
        """Outcomes at these indices."""
        return outcomes_of(
            labels=self.labels[index],
            scores=self.scores[index],
            abnormal=self.abnormal[index],
            patients=self.patients[index],
            decision_boundary=self.decision_boundary,
            probabilities=None if self.probabilities is None else self.probabilities[index],
            deferred=None if self.deferred is None else self.deferred[index],
        )

    def at(self, threshold: float) -> "Outcomes":
        """Same scores with decisions at another threshold, compared in 32 bits as in the ONNX graph."""
        return replace(self, abnormal=_at_least(self.scores, threshold))


def outcomes_of(  # noqa: PLR0913  # one for each column
    *,
    labels: NDArray[Any],
    scores: NDArray[Any],
    patients: NDArray[np.int64],
    abnormal: NDArray[np.bool_] | None = None,
    threshold: float | None = None,
    decision_boundary: float | None = None,
    probabilities: NDArray[Any] | None = None,
    deferred: NDArray[np.bool_] | None = None,
) -> Outcomes:
    """Builds Outcomes from arrays (N,) of any numeric type.

    Decisions are `abnormal` if given, else score >= `threshold`, compared in 32 bits as in the ONNX graph. With
    neither, every decision is normal.
    """
    values = scores.astype(np.float64)
    if abnormal is None:
        abnormal = np.zeros(len(values), np.bool_) if threshold is None else _at_least(values, threshold)
    stated = None if probabilities is None else probabilities.astype(np.float64)
    return Outcomes(
        labels=labels.astype(np.int64),
        scores=values,
        abnormal=abnormal,
        patients=patients,
        decision_boundary=decision_boundary,
        probabilities=stated,
        deferred=deferred,
    )


def outcomes_of_rows(rows: pa.Table, decision_boundary: float | None) -> Outcomes:
    """Outcomes from a table of predictions; `deferred` if the table has the column."""
    return outcomes_of(
        labels=rows["label"].to_numpy(),
        scores=rows["score"].to_numpy(),
        patients=rows["patient"].to_numpy(),
        abnormal=rows["abnormal"].to_numpy(),
        decision_boundary=decision_boundary,
        probabilities=rows["probability"].to_numpy(),
        deferred=rows["deferred"].to_numpy() if "deferred" in rows.column_names else None,
    )


def _at_least(scores: Floats, threshold: float) -> NDArray[np.bool_]:
    """(N,) score >= threshold, compared in 32 bits as in the ONNX graph."""
    called: NDArray[np.bool_] = scores.astype(np.float32) >= np.float32(threshold)
    return called


def balanced_view(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Sorted indices of a balanced subset: all images of the rarer class, and as many random ones of the other."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    number = min(len(positions) for positions in classes)
    chosen = [rng.choice(positions, number, replace=False) for positions in classes]
    return np.sort(np.concatenate(chosen))


def confusion(outcomes: Outcomes) -> dict[str, int]:
    """Confusion matrix as counts of true and false negatives and positives."""
    truth, called = outcomes.labels == 1, outcomes.abnormal
    return {
        "true_negative": int((~truth & ~called).sum()),
        "false_positive": int((~truth & called).sum()),
        "false_negative": int((truth & ~called).sum()),
        "true_positive": int((truth & called).sum()),
    }
