"""Calibration error: Brier score, expected calibration error, reliability diagram."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from medscreen.evaluation.bootstrap import Bootstrap, Estimate, rounded
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.proportion_intervals import wilson
from medscreen.evaluation.sample_size import supported

_WIDTHS = 15  # equal-width bins of the ECE, as Guo 2017 has them
_COUNTS = 10  # equal-count bins of the reliability table


class ReliabilityBin(TypedDict):
    """Images of like probability: their number, mean probability and the share of them that is abnormal."""

    images: int
    mean_probability: float
    observed: Estimate


def brier(outcomes: Outcomes, weights: Floats) -> Floats:
    """Mean squared distance of probability and label, in 0..1, less is better; per row of weights (Brier 1950).

    Raises ValueError where the outcomes have no probabilities.
    """
    score: Floats = (weights @ (probabilities_of(outcomes) - outcomes.labels) ** 2) / weights.sum(axis=1)
    return score


def ece(outcomes: Outcomes, weights: Floats) -> Floats:
    """Expected calibration error over 15 bins of equal width, in 0..1, less is better; per row of weights.

    The mean over images of |share abnormal - mean probability| in the image's bin (Guo 2017, arXiv 1706.04599,
    equation 3, for the probability of being abnormal). Chance adds to it: hold it against `ece_by_chance`.
    Raises ValueError where the outcomes have no probabilities.
    """
    probabilities = probabilities_of(outcomes)
    surplus = (outcomes.labels - probabilities)[:, None] * _in_bins(probabilities)
    error: Floats = np.abs(weights @ surplus).sum(axis=1) / weights.sum(axis=1)
    return error


def ece_by_chance(outcomes: Outcomes, bootstrap: Bootstrap) -> Estimate:
    """Mean and range of the ECE that these images would show if every stated probability were right.

    Labels are drawn from the probabilities (consistency resampling, Broecker, Smith 2007, doi 10.1175/WAF993.1); images
    count as independent. An ECE above the range is miscalibration that chance does not explain. There is no range where
    a class has too few patients. Raises ValueError where the outcomes have no probabilities.
    """
    probabilities = probabilities_of(outcomes)
    rng = np.random.default_rng(bootstrap.seed)
    drawn = rng.random((bootstrap.resamples, len(probabilities))) < probabilities
    surplus = (drawn - probabilities) @ _in_bins(probabilities)
    errors = np.abs(surplus).sum(axis=1) / max(len(probabilities), 1)
    return supported(bootstrap.estimate(np.concatenate([[errors.mean()], errors])), outcomes)


def _in_bins(probabilities: Floats) -> NDArray[np.bool_]:
    """(N, 15): which bin of equal width each probability falls into."""
    bins = np.searchsorted(np.linspace(0, 1, _WIDTHS + 1)[1:-1], probabilities)
    result: NDArray[np.bool_] = bins[:, None] == np.arange(_WIDTHS)
    return result


def reliability(outcomes: Outcomes, confidence: float) -> list[ReliabilityBin]:
    """The reliability table: at most ten bins of about equal count, by rising probability.

    Images of equal probability share a bin. The interval of the observed share is Wilson's, which takes images as
    independent; there is none where a class of the split has too few patients. Raises ValueError where the outcomes
    have no probabilities.
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
    """The outcomes' probabilities; raises ValueError where there are none."""
    if outcomes.probabilities is None:
        raise ValueError("the detector claims no probability, so there is none to judge")
    return outcomes.probabilities
