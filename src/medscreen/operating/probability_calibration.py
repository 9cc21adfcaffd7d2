"""Probability calibration: score -> probability of being abnormal, at the share of abnormal images in `val`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.config.operating import CalibrationName

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class LogisticCurve:
    """Probability 1 / (1 + exp(-(slope * score + intercept)))."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class SteppedCurve:
    """Piecewise linear probability between points of ascending score, constant beyond the outer points."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]


Curve = LogisticCurve | SteppedCurve


def calibrate(
    name: CalibrationName, scores: Floats, labels: Labels, decision_boundary: float | None
) -> tuple[CalibrationName, Curve]:
    """Fits the calibration `name`; returns the name of the fitted method and its curve.

    Temperature scaling needs the detector's logits: without them (`decision_boundary` None), Platt scaling is fitted
    and its name returned.
    """
    if name == "isotonic":
        return name, isotonic(scores, labels)
    if name == "temperature" and decision_boundary is not None:
        return name, temperature(scores, labels, decision_boundary)
    return "platt", platt(scores, labels)


def temperature(scores: Floats, labels: Labels, decision_boundary: float) -> LogisticCurve:
    """Temperature scaling: divides the logit by the temperature of maximum likelihood on `val`, within 1/100 to 100.

    Guo et al. 2017, On calibration of modern neural networks (arXiv 1706.04599), section 4.2.
    """
    from scipy.optimize import minimize_scalar

    logits, sign = scores - decision_boundary, np.where(labels == 1, 1.0, -1.0)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -sign * logits / np.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=(-np.log(100), np.log(100)), method="bounded", options={"xatol": 1e-8})
    slope = float(np.exp(-found.x))
    return _curve(slope, -slope * decision_boundary)


def isotonic(scores: Floats, labels: Labels) -> SteppedCurve:
    """Isotonic regression by pooling adjacent violators (scikit-learn)."""
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, labels)
    # the graph computes with 32 bits: merge scores that are equal there
    points = np.asarray(model.X_thresholds_, np.float32).astype(np.float64)
    last_of_equals = np.append(points[1:] > points[:-1], True)
    return SteppedCurve(
        tuple(float(score) for score in points[last_of_equals]),
        tuple(float(probability) for probability in model.y_thresholds_[last_of_equals]),
    )


def platt(scores: Floats, labels: Labels) -> LogisticCurve:
    """Platt scaling: logistic curve fitted to smoothed targets.

    Platt 1999, Probabilistic outputs for support vector machines: target (n+ + 1)/(n+ + 2) for the abnormal and
    1/(n- + 2) for the normal, which keeps the curve finite where the classes are separable.
    """
    from sklearn.linear_model import LogisticRegression

    abnormal, normal = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (abnormal + 1) / (abnormal + 2), 1 / (normal + 2))
    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    standard = ((scores - center) / spread)[:, None]
    # a soft target equals two weighted copies of the image, one with each label
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.vstack([standard, standard]),
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(model.coef_[0, 0]) / spread
    return _curve(slope, float(model.intercept_[0]) - slope * center)


def _curve(slope: float, intercept: float) -> LogisticCurve:
    """Rounds to nine digits, more than 32 bits hold: the last digits of the optimizer are not reproducible."""
    return LogisticCurve(float(f"{slope:.9g}"), float(f"{intercept:.9g}"))
