"""All that is read off a score, as one value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.config.operating import OperatingParams, SensitivityPolicy, SpecificityPolicy
from medscreen.errors import MedscreenError
from medscreen.operating.probability_calibration import Curve, calibrate
from medscreen.operating.threshold_policies import choose_threshold, described

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class OperatingPoint:
    """Operating point of a detector.

    An image is called abnormal when score >= `threshold`, and is to be deferred to a reader when `defer_from` <=
    score < `defer_to`. Its p-value compares it with `healthy_scores` (sorted): the conformal p-value (1 + number of
    healthy scores >= score) / (n + 1), in 1/(n+1)..1. For a healthy image exchangeable with those of `val`,
    P(p <= a) <= a (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World, section 2.2). It
    holds nearly where `val` has several images of a patient, and on images of another hospital nothing is promised.
    `curve` gives its probability of being abnormal.
    """

    policy: str
    threshold: float
    defer_from: float
    defer_to: float
    healthy_scores: tuple[float, ...]
    calibration: str
    curve: Curve


def choose_operating_point(
    params: OperatingParams, scores: Floats, labels: Labels, decision_boundary: float | None
) -> OperatingPoint:
    """The operating point that the settings ask for, given the scores and labels of `val`.

    The deferral band reaches from the threshold of `deferral.sensitivity` to that of `deferral.specificity`, and to the
    operating threshold where that lies outside; where the first is the higher of the two, nothing is deferred.
    """
    if not np.isfinite(scores).all():
        raise MedscreenError("Some scores of val are not finite numbers; lower training.learning_rate and train again.")
    threshold = choose_threshold(params.threshold, scores, labels)
    if not np.isfinite(threshold):
        raise MedscreenError(
            f"The policy {described(params.threshold)} gives no finite threshold; correct its numbers."
        )
    low = choose_threshold(
        SensitivityPolicy(policy="sensitivity", at_least=params.deferral.sensitivity), scores, labels
    )
    high = choose_threshold(
        SpecificityPolicy(policy="specificity", at_least=params.deferral.specificity), scores, labels
    )
    low, high = (min(low, threshold), max(high, threshold)) if low < high else (threshold, threshold)
    calibration, curve = calibrate(params.calibration, scores, labels, decision_boundary)
    return OperatingPoint(
        policy=described(params.threshold),
        threshold=threshold,
        defer_from=low,
        defer_to=high,
        healthy_scores=tuple(float(score) for score in np.sort(scores[labels == 0])),
        calibration=calibration,
        curve=curve,
    )
