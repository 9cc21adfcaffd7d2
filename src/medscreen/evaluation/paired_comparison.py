"""Paired comparison of two detectors on the same images, and spread over seeds."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from medscreen.evaluation.bootstrap import UNDEFINED, Bootstrap, Estimate, estimate, rounded
from medscreen.evaluation.metrics import METRICS, classes_of
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.sample_size import supported

Labels = NDArray[np.int64]


class Comparison(TypedDict):
    """Difference of two AUROCs: standard error, two-sided p-value for no difference, and interval."""

    difference: float | None
    standard_error: float | None
    p_value: float | None
    low: float | None
    high: float | None


class Spread(TypedDict):
    """Mean and sample standard deviation over runs with different seeds."""

    runs: int
    mean: float | None
    sd: float | None


def delong(labels: Labels, scores_a: Floats, scores_b: Floats, confidence: float) -> Comparison:
    """AUROC of a minus that of b on the same images, all arrays (N,), by DeLong's test.

    DeLong, DeLong, Clarke-Pearson 1988 (doi 10.2307/2531595), by midranks as Sun, Xu 2014 (doi
    10.1109/LSP.2014.2337313). Assumes independent images: for several images a patient, use `paired_bootstrap`. With
    fewer than two images of a class all fields are None; without variance (identical scores) the p-value is None.
    """
    normal_a, abnormal_a = _placements(labels, scores_a)
    normal_b, abnormal_b = _placements(labels, scores_b)
    if min(len(normal_a), len(abnormal_a)) < 2:
        return {"difference": None, "standard_error": None, "p_value": None, "low": None, "high": None}
    difference = float(abnormal_a.mean() - abnormal_b.mean())
    error = _standard_error(normal_a - normal_b, abnormal_a - abnormal_b)
    reach = float(norm.isf((1 - confidence) / 2)) * error
    return {
        "difference": rounded(difference),
        "standard_error": rounded(error),
        # rounded: zero variance can be computed as 1e-17
        "p_value": float(2 * norm.sf(abs(difference) / error)) if rounded(error) > 0 else None,
        "low": rounded(difference - reach),
        "high": rounded(difference + reach),
    }


def delong_auroc(labels: Labels, scores: Floats, confidence: float) -> Estimate:
    """AUROC with DeLong's interval, clipped to 0..1; see `delong`. The width is 0 for perfect separation."""
    normal, abnormal = _placements(labels, scores)
    if min(len(normal), len(abnormal)) < 2:
        return UNDEFINED.copy()
    area = float(abnormal.mean())
    reach = float(norm.isf((1 - confidence) / 2)) * _standard_error(normal, abnormal)
    return estimate(area, max(area - reach, 0), min(area + reach, 1))


def _placements(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """For each normal image the share of abnormal images above it; for each abnormal one, of normal images below."""
    normal, abnormal = scores[labels == 0], scores[labels == 1]
    ranks = rankdata(np.concatenate([normal, abnormal]))
    above = len(abnormal) - (ranks[: len(normal)] - rankdata(normal))
    below = ranks[len(normal) :] - rankdata(abnormal)
    return above / max(len(abnormal), 1), below / max(len(normal), 1)


def _standard_error(normal: Floats, abnormal: Floats) -> float:
    return float(np.sqrt(normal.var(ddof=1) / len(normal) + abnormal.var(ddof=1) / len(abnormal)))


def paired_bootstrap(a: Outcomes, b: Outcomes, metric: str, bootstrap: Bootstrap) -> Estimate:
    """The metric of a minus that of b, with an interval from the same resampled patients for both.

    No interval if a class of the metric has too few patients (`sample_size`). Raises ValueError if the images or their
    order differ.
    """
    return supported(bootstrap.estimate(_paired_differences(a, b, metric, bootstrap)), a, classes_of(metric))


def _paired_differences(a: Outcomes, b: Outcomes, metric: str, bootstrap: Bootstrap) -> Floats:
    """(resamples + 1,): difference on the sample, then on each resample of patients."""
    if not (np.array_equal(a.labels, b.labels) and np.array_equal(a.patients, b.patients)):
        raise ValueError("the outcomes of the two detectors are not for the same images")
    weights = bootstrap.weights(a.patients)
    with np.errstate(divide="ignore", invalid="ignore"):
        differences: Floats = METRICS[metric](a, weights) - METRICS[metric](b, weights)
    return differences


def paired_lower_bound(a: Outcomes, b: Outcomes, metric: str, bootstrap: Bootstrap) -> float | None:
    """One-sided lower confidence bound of the metric of a minus that of b; None if undefined.

    The smaller of the percentile bound and the normal bound on the same resamples: in the tail the first depends on few
    resamples, and the second assumes a symmetry that small samples lack (figures in docs/log.md). Raises ValueError as
    `paired_bootstrap` does.
    """
    differences = _paired_differences(a, b, metric, bootstrap)
    resampled = differences[1:][np.isfinite(differences[1:])]
    if not np.isfinite(differences[0]) or len(resampled) < 2:
        return None
    error = 1 - bootstrap.confidence
    normal = differences[0] - norm.isf(error) * resampled.std(ddof=1)
    return rounded(min(float(np.quantile(resampled, error)), float(normal)))


def spread(values: Sequence[float]) -> Spread:
    """Mean (None without values) and sample standard deviation (None for fewer than two)."""
    return {
        "runs": len(values),
        "mean": rounded(float(np.mean(values))) if values else None,
        "sd": rounded(float(np.std(values, ddof=1))) if len(values) > 1 else None,
    }
