import numpy as np
import pytest
from scipy.stats import binom

from factories import drawn_outcomes, outcomes
from medscreen.evaluation import METRICS, confusion
from medscreen.evaluation.rates import wilson, wilson_rates


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_of_newcombe_1998(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    estimate = wilson(successes, trials, 0.95)
    assert estimate == pytest.approx({"value": successes / trials, "low": low, "high": high}, abs=5e-5)


def test_a_share_of_nothing_is_undefined() -> None:
    assert wilson(0, 0, 0.95) == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("trials", [20, 100])
def test_wilson_intervals_hold_the_share_about_as_often_as_they_say(trials: int) -> None:
    """Exact: the binomial chance of each count whose interval holds the share, averaged over shares."""
    shares, counts = np.linspace(0.02, 0.98, 97), np.arange(trials + 1)
    intervals = [wilson(int(count), trials, 0.95) for count in counts]
    low, high = (np.array([interval[end] for interval in intervals]) for end in ("low", "high"))
    held = (low <= shares[:, None]) & (shares[:, None] <= high)
    coverage = (binom.pmf(counts, trials, shares[:, None]) * held).sum(axis=1)
    assert 0.945 < coverage.mean() < 0.965
    assert coverage.min() > 0.83


def test_rates_are_the_metrics_of_the_same_name() -> None:
    sample = drawn_outcomes(70, seed=8)
    rates, once = wilson_rates(sample, 0.95), np.ones((1, 70))
    for name, estimate in rates.items():
        assert estimate["value"] == pytest.approx(METRICS[name](sample, once)[0], abs=1e-6)
        assert estimate["low"] < estimate["value"] < estimate["high"]
    counts = confusion(sample)
    hits = counts["true_positive"]
    assert rates["sensitivity"] == wilson(hits, hits + counts["false_negative"], 0.95)
    assert wilson_rates(sample, 0.99)["ppv"]["low"] < rates["ppv"]["low"]


def test_rates_of_a_missing_class_are_undefined() -> None:
    rates = wilson_rates(outcomes([1, 1, 1], [0.9, 0.8, 0.7]), 0.95)
    assert rates["specificity"]["value"] is None
    assert rates["npv"]["value"] is None
    assert rates["sensitivity"]["value"] == 1
    assert rates["sensitivity"]["low"] == pytest.approx(3 / (3 + 1.959964**2), abs=1e-6)
