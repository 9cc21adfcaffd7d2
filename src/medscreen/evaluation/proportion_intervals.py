"""Intervals of a share."""

import math

import numpy as np
from scipy.stats import norm

from medscreen.evaluation.bootstrap import UNDEFINED, Estimate, estimate
from medscreen.evaluation.outcomes import Floats


def wilson(share: float, trials: float, confidence: float) -> Estimate:
    """A share of so many independent trials with its Wilson score interval; undefined without trials.

    Unlike a bootstrap interval it has a width where the share is 0 or 1: no miss among 20 is a sensitivity of .84
    to 1. `trials` need not be whole (Wilson 1927, doi 10.2307/2276774).
    """
    if trials <= 0 or not math.isfinite(share):
        return UNDEFINED.copy()
    z = float(norm.isf((1 - confidence) / 2))
    center = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    reach = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return estimate(share, max(center - reach, 0.0), min(center + reach, 1.0))


def clustered(values: Floats, images: int, patients: int, confidence: float) -> Estimate:
    """Wilson's interval for as many independent images as the `images` of these `patients` are worth.

    `values`: the share on the sample and on resamples of patients, see `Bootstrap.weights`. Their variance says how
    many images would vary as much (Kish 1965, the design effect); a share of 0 or 1 has none, and counts its
    patients. Between the number of patients and of images lies what is taken.
    """
    share, resampled = float(values[0]), values[1:][np.isfinite(values[1:])]
    variance = float(resampled.var()) if len(resampled) else 0.0
    worth = share * (1 - share) / variance if variance > 0 else float(patients)
    return wilson(share, min(max(worth, float(min(patients, images))), float(images)), confidence)
