"""Confidence intervals of proportions."""

import math

import numpy as np
from scipy.stats import norm

from medscreen.evaluation.bootstrap import UNDEFINED, Estimate, estimate
from medscreen.evaluation.outcomes import Floats


def wilson(share: float, trials: float, confidence: float) -> Estimate:
    """Wilson score interval of a proportion (Wilson 1927, doi 10.2307/2276774); undefined without trials.

    Unlike a bootstrap interval it has a width at 0 and 1: with no miss in 20, sensitivity is .84 to 1. `trials` may be
    fractional.
    """
    if trials <= 0 or not math.isfinite(share):
        return UNDEFINED.copy()
    z = float(norm.isf((1 - confidence) / 2))
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return estimate(share, max(center - reach, 0.0), min(center + reach, 1.0))


def clustered(values: Floats, images: int, patients: int, confidence: float) -> Estimate:
    """Wilson interval of a proportion for the effective sample size of `images` clustered in `patients`.

    `values`: the proportion on the sample and on resamples of patients, see `Bootstrap.weights`. The effective sample
    size follows from their variance (design effect, Kish 1965), limited to the range from `patients` to `images`.
    Without variance (0 or 1) it is `patients`.
    """
    share, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    variance = float(resampled.var()) if len(resampled) else 0.0
    effective = share * (1 - share) / variance if variance > 0 else float(patients)
    return wilson(share, min(max(effective, float(min(patients, images))), float(images)), confidence)
