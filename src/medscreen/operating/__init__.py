"""From scores to decisions: threshold, refer band, conformal p-value, probability.

All of it is learned on `val`, from saved scores: no detector has threshold code of its own.
"""

from medscreen.operating.calibration import Curve, LogisticCurve, SteppedCurve
from medscreen.operating.point import OperatingPoint, choose_operating_point
from medscreen.operating.policies import choose_threshold

__all__ = [
    "Curve",
    "LogisticCurve",
    "OperatingPoint",
    "SteppedCurve",
    "choose_operating_point",
    "choose_threshold",
]
