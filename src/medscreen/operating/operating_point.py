"""Operating point: threshold, deferral band, p-value and probability calibration of a detector."""

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

    - `threshold`: an image is called abnormal if score >= threshold.
    - `defer_from`, `defer_to`: an image is deferred to a reader if defer_from <= score < defer_to.
    - `healthy_scores`: sorted scores of the n healthy images of `val`. The conformal p-value is (1 + number of healthy
      scores >= score) / (n + 1), in 1/(n+1)..1. For a healthy image exchangeable with those of `val`, P(p <= a) <= a
      (Vovk, Gammerman, Shafer 2005, Algorithmic Learning in a Random World, section 2.2). This is approximate if `val`
      has several images of a patient, and not guaranteed on images of another hospital.
    - `curve`: maps the score to the probability of being abnormal.
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
    """Chooses the operating point by the settings, from scores and labels of `val`.

    The deferral band reaches from the threshold of `deferral.sensitivity` to that of `deferral.specificity`, extended
    to include the operating threshold. If the first threshold is not below the second, nothing is deferred. Raises
    MedscreenError for scores or a threshold that are not finite.
    """
    if not np.isfinite(scores).all():
        raise MedscreenError("val: some scores are not finite. Lower training.learning_rate and train again.")
    threshold = choose_threshold(params.threshold, scores, labels)
    if not np.isfinite(threshold):
        raise MedscreenError(
            f"params.yaml: the policy {described(params.threshold)} has no finite threshold. Correct its numbers."
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
