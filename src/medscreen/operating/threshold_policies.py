"""Threshold policies, applied to scores and labels of `val`."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medscreen.config.operating import (
    BestAccuracyPolicy,
    CostPolicy,
    F1Policy,
    HealthyQuantilePolicy,
    MeanSdPolicy,
    Policy,
    SensitivityPolicy,
    SpecificityPolicy,
    YoudenPolicy,
)
from medscreen.errors import MedscreenError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def choose_threshold(policy: Policy, scores: Floats, labels: Labels) -> float:
    """Threshold of a policy as a 32-bit number; an image is called abnormal if score >= threshold.

    A threshold between two images is the midpoint of their scores; of equally good thresholds the lowest is taken.
    Raises MedscreenError if a class that the policy uses has no image.
    """
    for label, name in enumerate(("normal", "abnormal")):
        if name in classes_of(policy) and not (labels == label).any():
            raise MedscreenError(
                f"val: no {name} image, which the policy {policy.policy} requires. Check the labels, or add images."
            )
    healthy = scores[labels == 0]
    match policy:
        case MeanSdPolicy():
            return float(np.float32(healthy.mean() + policy.sd * healthy.std()))
        case HealthyQuantilePolicy():
            return float(np.float32(np.quantile(healthy, policy.quantile)))
    cuts = _Cuts.of(scores, labels)
    match policy:
        case BestAccuracyPolicy():
            position = _best(cuts.true_positives - cuts.false_positives)
        case YoudenPolicy():
            position = _best(cuts.sensitivity - cuts.false_positive_rate)
        case F1Policy():
            called = cuts.true_positives + cuts.false_positives
            position = _best(2 * cuts.true_positives / (called + cuts.abnormal))
        case SensitivityPolicy():
            position = int(np.flatnonzero(cuts.sensitivity >= policy.at_least)[-1])
        case SpecificityPolicy():
            position = int(np.flatnonzero(cuts.specificity >= policy.at_least)[0])
        case CostPolicy():
            missed = policy.prevalence * policy.false_negative * (1 - cuts.sensitivity)
            alarmed = (1 - policy.prevalence) * policy.false_positive * cuts.false_positive_rate
            position = _best(-(missed + alarmed))
    return cuts.threshold(position)


@dataclass(frozen=True)
class _Cuts:
    """Candidate cuts between sorted scores, from all images called abnormal to none; arrays ascend by threshold."""

    ranked: Floats
    first_called: NDArray[np.int64]  # position in `ranked` of the lowest score that is called abnormal
    true_positives: Floats
    false_positives: Floats
    abnormal: int
    normal: int

    @classmethod
    def of(cls, scores: Floats, labels: Labels) -> "_Cuts":
        order = np.argsort(scores, kind="stable")
        ranked, truth = scores[order], labels[order] == 1
        # cuts lie between distinct scores only
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] > ranked[:-1], [True]]))
        abnormal_below = np.concatenate([[0], np.cumsum(truth)])[starts]
        abnormal, normal = int(truth.sum()), int((~truth).sum())
        return cls(
            ranked,
            starts,
            (abnormal - abnormal_below).astype(np.float64),
            (normal - (starts - abnormal_below)).astype(np.float64),
            abnormal,
            normal,
        )

    @property
    def sensitivity(self) -> Floats:
        return self.true_positives / self.abnormal

    @property
    def false_positive_rate(self) -> Floats:
        return self.false_positives / self.normal

    @property
    def specificity(self) -> Floats:
        return (self.normal - self.false_positives) / self.normal

    def threshold(self, cut: int) -> float:
        """Threshold of a cut."""
        position = int(self.first_called[cut])
        if position == 0:
            return float(np.float32(self.ranked[0]))
        if position == len(self.ranked):
            return float(np.nextafter(np.float32(self.ranked[-1]), np.float32(np.inf)))
        midway = np.float32((self.ranked[position - 1] + self.ranked[position]) / 2)
        # adjacent 32-bit numbers have no midpoint: take the upper one
        return float(midway) if midway > np.float32(self.ranked[position - 1]) else float(self.ranked[position])


def _best(values: Floats) -> int:
    """Index of the first maximum, up to rounding."""
    return int(np.argmax(np.round(values / (np.abs(values).max() or 1.0), 12)))


def classes_of(policy: Policy) -> tuple[str, ...]:
    """Classes whose images a policy uses."""
    return ("normal",) if isinstance(policy, MeanSdPolicy | HealthyQuantilePolicy) else ("normal", "abnormal")


def described(policy: Policy) -> str:
    """Policy in one line: name and parameters."""
    numbers = {key: value for key, value in policy.model_dump().items() if key != "policy"}
    return " ".join([policy.policy, *(f"{key}={value:g}" for key, value in numbers.items())])
