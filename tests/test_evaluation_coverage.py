"""How often intervals hold a truth that is known because the scores are simulated.

500 data sets: an interval that holds the truth 95 % of the time is found to do so 93 to 97 % of the time (two standard
errors of the simulation), and 92 to 98 % nearly always.
"""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from factories import outcomes, p_values
from medscreen.config.operating import DeferralParams, HealthyQuantilePolicy, OperatingParams
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.decision_curve import predictive_values
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.paired_comparison import delong, delong_auroc, paired_bootstrap
from medscreen.operating.operating_point import choose_operating_point

pytestmark = pytest.mark.slow

DATA_SETS, RESAMPLES = 500, 300


def area(separation: float) -> float:
    """AUROC of normal scores of spread 1 whose classes lie so far apart."""
    return float(norm.cdf(separation / math.sqrt(2)))


def held(estimate: Any, truth: float) -> bool:
    return bool(estimate["low"] <= truth <= estimate["high"])


def test_intervals_of_one_area_and_of_a_difference_hold_the_truth() -> None:
    """Binormal scores of two detectors that correlate by one half, AUROC .84 and .71."""
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 2
    far, near = 1.4, 0.8
    found = np.zeros((DATA_SETS, 4))
    for number in range(DATA_SETS):
        common, *own = rng.normal(size=(3, 120)) / math.sqrt(2)
        a, b = (outcomes(labels, d * labels + common + one) for d, one in zip((far, near), own, strict=True))
        bootstrap = Bootstrap(RESAMPLES, 0.95, number)
        found[number] = [
            held(evaluate(a, bootstrap, ["auroc"])["auroc"], area(far)),
            held(delong_auroc(labels, a.scores, 0.95), area(far)),
            held(paired_bootstrap(a, b, "auroc", bootstrap), area(far) - area(near)),
            held(delong(labels, a.scores, b.scores, 0.95), area(far) - area(near)),
        ]
    coverage = found.mean(axis=0)
    assert (coverage >= 0.92).all(), coverage
    assert (coverage <= 0.98).all(), coverage


def test_where_patients_have_several_images_only_resampling_patients_holds_the_truth() -> None:
    """60 patients of five images each that share three fifths of their variance: images alone are too sure."""
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(60), 5)
    labels, truth = person % 2, area(1.0)
    found = np.zeros((DATA_SETS, 3))
    for number in range(DATA_SETS):
        scores = labels + math.sqrt(0.6) * rng.normal(size=60)[person] + math.sqrt(0.4) * rng.normal(size=300)
        by_patient, by_image = (
            evaluate(outcomes(labels, scores, patients=who), Bootstrap(RESAMPLES, 0.95, number), ["auroc"])["auroc"]
            for who in (person, None)
        )
        found[number] = [
            held(by_patient, truth),
            held(by_image, truth),
            held(delong_auroc(labels, scores, 0.95), truth),
        ]
    patients, images, delongs = found.mean(axis=0)
    assert 0.92 <= patients <= 0.98
    assert images < 0.8
    assert delongs < 0.8


def test_intervals_of_predictive_values_at_another_prevalence_hold_the_truth() -> None:
    """A detector of sensitivity .8 and specificity .9, met at half abnormal and used at one in ten."""
    rng = np.random.default_rng(3)
    labels = np.arange(200) % 2
    truth = {"ppv": 0.08 / (0.08 + 0.09), "npv": 0.81 / (0.81 + 0.02)}
    found = []
    for number in range(DATA_SETS):
        called = rng.random(200) < np.where(labels == 1, 0.8, 0.1)
        values = predictive_values(outcomes(labels, called), 0.1, Bootstrap(RESAMPLES, 0.95, number))
        found.append([held(values[name], truth[name]) for name in truth])
    coverage = np.mean(found, axis=0)
    assert (coverage >= 0.92).all(), coverage
    assert (coverage <= 0.98).all(), coverage


def test_intervals_of_the_brier_score_hold_the_truth() -> None:
    """Calibrated probabilities, even in 0..1: the expected Brier score is that of p (1 - p), a sixth."""
    rng = np.random.default_rng(4)
    found = []
    for number in range(DATA_SETS):
        stated = rng.random(120)
        sample = outcomes(rng.random(120) < stated, stated, probabilities=stated)
        found.append(held(evaluate(sample, Bootstrap(RESAMPLES, 0.95, number), ["brier"])["brier"], 1 / 6))
    assert 0.92 <= np.mean(found) <= 0.98


@pytest.mark.parametrize("healthy", [99, 130])
def test_a_p_value_of_five_percent_is_a_false_alarm_as_often_as_it_says(healthy: int) -> None:
    """200 draws in which the healthy images of `val` and the new ones are exchangeable."""
    rng = np.random.default_rng(5)
    params = OperatingParams(
        threshold=HealthyQuantilePolicy(policy="healthy_quantile", quantile=0.95),
        calibration="platt",
        deferral=DeferralParams(sensitivity=0.95, specificity=0.95),
    )
    labels = np.repeat([0, 1], [healthy, 30])
    rates = np.zeros(200)
    for draw in range(200):
        scores: NDArray[np.float64] = rng.gamma(2.0, size=healthy + 30) + 2 * labels
        point = choose_operating_point(params, scores, labels, None)
        rates[draw] = (p_values(rng.gamma(2.0, size=100), np.array(point.healthy_scores)) <= 0.05).mean()
    expected = math.floor(0.05 * (healthy + 1)) / (healthy + 1)
    assert abs(rates.mean() - expected) < 2 * rates.std(ddof=1) / math.sqrt(200)
