"""Calibration error: Brier score, expected calibration error, reliability diagram."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from medscreen.evaluation.bootstrap import Bootstrap, Estimate, rounded
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.proportion_intervals import wilson
from medscreen.evaluation.sample_size import supported

_WIDTHS = 15  # equal-width bins of the ECE, as in Guo 2017
_COUNTS = 10  # equal-count bins of the reliability table


class ReliabilityBin(TypedDict):
    """Bin of the reliability table: number of images, mean probability, observed share of abnormal images."""

    images: int
    mean_probability: float
    observed: Estimate


def brier(outcomes: Outcomes, weights: Floats) -> Floats:
    """Brier score (Brier 1950): mean squared error of the probability, 0..1, lower is better.

    `weights` (R, N) -> (R,). Raises ValueError if the outcomes have no probabilities.
    """
    score: Floats = (weights @ (probabilities_of(outcomes) - outcomes.labels) ** 2) / weights.sum(axis=1)
    return score


def ece(outcomes: Outcomes, weights: Floats) -> Floats:
    """Expected calibration error over 15 bins of equal width, 0..1, lower is better.

    The mean over images of |share abnormal - mean probability| in the image's bin (Guo 2017, arXiv 1706.04599,
    equation 3, for the probability of being abnormal). Perfectly calibrated probabilities also have an ECE above 0 by
    chance: compare it with `ece_by_chance`. `weights` (R, N) -> (R,). Raises ValueError if the outcomes have no
    probabilities.
    """
    probabilities = probabilities_of(outcomes)
    surplus = (outcomes.labels - probabilities)[:, None] * _in_bins(probabilities)
    error: Floats = np.abs(weights @ surplus).sum(axis=1) / weights.sum(axis=1)
    return error


def ece_by_chance(outcomes: Outcomes, bootstrap: Bootstrap) -> Estimate:
    """Mean and interval of the ECE on these images under perfect calibration.

    Consistency resampling (Broecker, Smith 2007, doi 10.1175/WAF993.1): the label of each image is drawn independently
    with its probability. An ECE above the interval is more miscalibration than chance explains. `low` and `high`
    are None if a class has too few patients. Raises ValueError if the outcomes have no probabilities.
    """
    probabilities = probabilities_of(outcomes)
    rng = np.random.default_rng(bootstrap.seed)
    drawn = rng.random((bootstrap.resamples, len(probabilities))) < probabilities
    surplus = (drawn - probabilities) @ _in_bins(probabilities)
    errors = np.abs(surplus).sum(axis=1) / max(len(probabilities), 1)
    return supported(bootstrap.estimate(np.concatenate([[errors.mean()], errors])), outcomes)


def _in_bins(probabilities: Floats) -> NDArray[np.bool_]:
    """(N, 15) one-hot: the equal-width bin of each probability."""
    bins = np.searchsorted(np.linspace(0, 1, _WIDTHS + 1)[1:-1], probabilities)
    result: NDArray[np.bool_] = bins[:, None] == np.arange(_WIDTHS)
    return result


def reliability(outcomes: Outcomes, confidence: float) -> list[ReliabilityBin]:
    """Reliability table: at most ten bins of about equal count, by ascending probability.

    Images of equal probability share a bin. The observed share has a Wilson interval, which assumes independent images;
    none if a class of the split has too few patients. Raises ValueError if the outcomes have no probabilities.
    """
    probabilities = probabilities_of(outcomes)
    if len(probabilities) == 0:
        return []
    edges = np.quantile(probabilities, np.linspace(0, 1, _COUNTS + 1)[1:-1])
    bins = np.searchsorted(edges, probabilities)
    members = [np.flatnonzero(bins == number) for number in np.unique(bins)]
    bins_of_images = [_bin(probabilities[index], outcomes.labels[index], confidence) for index in members]
    for row in bins_of_images:
        row["observed"] = supported(row["observed"], outcomes)
    return bins_of_images


def _bin(probabilities: Floats, labels: NDArray[np.int64], confidence: float) -> ReliabilityBin:
    return {
        "images": len(labels),
        "mean_probability": rounded(probabilities.mean()),
        "observed": wilson(float(labels.mean()), len(labels), confidence),
    }


def probabilities_of(outcomes: Outcomes) -> Floats:
    """Probabilities of the outcomes; raises ValueError if there are none."""
    if outcomes.probabilities is None:
        raise ValueError("the detector has no probabilities")
    return outcomes.probabilities
