"""From scores to decisions: the threshold by a named policy, the conformal p-value, the probability.

All of it is learned on `val`, from saved scores: no detector has threshold code of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.params import (
    BestAccuracyPolicy,
    HealthyQuantilePolicy,
    MeanSdPolicy,
    OperatingParams,
    YoudenPolicy,
)

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class OperatingPoint:
    """How a detector's score is read.

    An image is called abnormal when score >= `threshold`. Its p-value compares it with `healthy_scores`
    (sorted): the conformal p-value (1 + number of healthy scores >= score) / (n + 1), in 1/(n+1)..1. For a healthy
    image exchangeable with those of `val`, P(p <= a) <= a (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a
    Random World, section 2.2). Its probability of being abnormal is 1 / (1 + exp(-(slope * score + intercept))), at
    the share of abnormal images that `val` has.
    """

    policy: str
    threshold: float
    healthy_scores: tuple[float, ...]
    slope: float
    intercept: float


def choose_operating_point(params: OperatingParams, scores: Floats, labels: Labels) -> OperatingPoint:
    """The operating point that the policy asks for, given the scores and labels of `val`."""
    slope, intercept = platt(scores, labels)
    return OperatingPoint(
        policy=params.policy,
        threshold=choose_threshold(params, scores, labels),
        healthy_scores=tuple(float(score) for score in np.sort(scores[labels == 0])),
        slope=slope,
        intercept=intercept,
    )


def choose_threshold(params: OperatingParams, scores: Floats, labels: Labels) -> float:
    """The threshold of a policy, a 32-bit number as the graph compares it.

    Where it chooses between images, it lies midway between their scores.
    """
    healthy = scores[labels == 0]
    match params:
        case MeanSdPolicy():
            threshold = healthy.mean() + params.sd * healthy.std()
        case HealthyQuantilePolicy():
            threshold = np.quantile(healthy, params.quantile)
        case BestAccuracyPolicy():
            threshold = _best(scores, np.where(labels == 1, 1.0, -1.0))
        case YoudenPolicy():
            threshold = _best(scores, np.where(labels == 1, 1 / (labels == 1).sum(), -1 / (labels == 0).sum()))
    return float(np.float32(threshold))


def _best(scores: Floats, worth: Floats) -> float:
    """The threshold at which the images called abnormal are worth most in sum; the lowest among equals."""
    order = np.argsort(scores)
    ranked = scores[order]
    # worth of calling the images from position i on abnormal; past the last image it is nothing
    from_here = np.append(np.cumsum(worth[order][::-1])[::-1], 0.0)
    # positions between two equal scores are no thresholds
    possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    position = int(np.argmax(np.where(possible, np.round(from_here, 12), -np.inf)))
    if position == 0:
        return float(ranked[0])
    if position == len(ranked):
        return float(np.nextafter(np.float32(ranked[-1]), np.float32(np.inf)))
    midway = np.float32((ranked[position - 1] + ranked[position]) / 2)
    # between neighbours among the 32-bit numbers there is none: the midpoint falls onto one of them
    return float(midway) if midway > np.float32(ranked[position - 1]) else float(ranked[position])


def platt(scores: Floats, labels: Labels) -> tuple[float, float]:
    """Slope and intercept of the logistic curve from score to probability, with Platt's smoothed targets.

    Platt 1999, Probabilistic outputs for support vector machines: target (n+ + 1)/(n+ + 2) for the abnormal and
    1/(n- + 2) for the normal, which keeps the curve finite where the classes are separable.
    """
    from sklearn.linear_model import LogisticRegression

    abnormal, normal = int((labels == 1).sum()), int((labels == 0).sum())
    target = np.where(labels == 1, (abnormal + 1) / (abnormal + 2), 1 / (normal + 2))
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    standard = ((scores - centre) / spread)[:, None]
    # a soft target is the same as the image seen twice, once with each label, at these weights
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(
        np.vstack([standard, standard]),
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * centre
