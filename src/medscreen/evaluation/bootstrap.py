"""Bootstrap intervals by resampling patients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from medscreen.evaluation.outcomes import Floats


class Estimate(TypedDict):
    """A metric and its interval; None if undefined (division by zero)."""

    value: float | None
    low: float | None
    high: float | None


UNDEFINED: Estimate = {"value": None, "low": None, "high": None}


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap over patients (Efron, Tibshirani 1993, chapter 13)."""

    resamples: int
    confidence: float
    seed: int

    def weights(self, patients: NDArray[np.int64]) -> Floats:
        """(resamples + 1, N): number of times each image is drawn; row 0 is the original sample."""
        if len(patients) == 0:
            return np.zeros((self.resamples + 1, 0))
        distinct, patient_of = np.unique(patients, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        drawn = rng.multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), size=self.resamples)
        weights = np.ones((self.resamples + 1, len(patients)))
        for row, times in zip(weights[1:], drawn, strict=True):  # row by row: at once it takes twice the memory
            row[:] = times[patient_of]
        return weights

    def estimate(self, values: Floats) -> Estimate:
        """Percentile interval from a metric's values on the rows of weights, without undefined resamples."""
        return _estimate(values, self.confidence, rounded)

    def estimate_on_any_scale(self, values: Floats) -> Estimate:
        """As `estimate`, rounded to six significant digits: for scores and thresholds of any scale."""
        return _estimate(values, self.confidence, significant)


def _estimate(values: Floats, confidence: float, rounding: Callable[[float], float]) -> Estimate:
    resampled = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(resampled) == 0:
        return UNDEFINED.copy()
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return {"value": rounding(values[0]), "low": rounding(low), "high": rounding(high)}


def estimate(value: float, low: float, high: float) -> Estimate:
    """Estimate from a value and its interval, rounded to six decimals."""
    return {"value": rounded(value), "low": rounded(low), "high": rounded(high)}


def rounded(value: float) -> float:
    """Rounds to six decimals, finer than the resolution of a proportion on any sample here."""
    return round(float(value), 6)


def significant(value: float) -> float:
    """Rounds to six significant digits."""
    return float(f"{value:.6g}")
