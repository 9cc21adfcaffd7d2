from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from factories import drawn_outcomes, outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.proportion_intervals import clustered, wilson


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_of_newcombe_1998(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe 1998, doi 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3."""
    estimate = wilson(successes / trials, trials, 0.95)
    assert estimate == pytest.approx({"value": successes / trials, "low": low, "high": high}, abs=5e-5)


def test_a_share_of_nothing_is_undefined() -> None:
    assert wilson(0, 0, 0.95) == {"value": None, "low": None, "high": None}


@pytest.mark.parametrize("trials", [20, 100])
def test_wilson_intervals_hold_the_share_about_as_often_as_they_say(trials: int) -> None:
    """Exact: the binomial chance of each count whose interval holds the share, averaged over shares."""
    shares, counts = np.linspace(0.02, 0.98, 97), np.arange(trials + 1)
    intervals = [wilson(count / trials, trials, 0.95) for count in counts]
    low, high = (np.array([interval[end] for interval in intervals]) for end in ("low", "high"))
    held = (low <= shares[:, None]) & (shares[:, None] <= high)
    coverage = (binom.pmf(counts, trials, shares[:, None]) * held).sum(axis=1)
    assert 0.945 < coverage.mean() < 0.965
    assert coverage.min() > 0.83


@pytest.mark.parametrize(("successes", "trials"), [(3, 7), (0, 9), (50, 50), (199, 200)])
def test_wilson_is_that_of_scipy(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(0.9, method="wilson")
    found = wilson(successes / trials, trials, 0.9)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_independent_images_are_worth_their_number() -> None:
    sample = drawn_outcomes(3000, seed=8)
    sample = replace(sample, patients=np.arange(3000))
    found = evaluate(sample, Bootstrap(2000, 0.95, 1), ["sensitivity"])["sensitivity"]
    images = int(sample.labels.sum())
    assert found["value"] is not None
    expected = wilson(found["value"], images, 0.95)
    assert found["high"] - found["low"] == pytest.approx(expected["high"] - expected["low"], rel=0.1)


def test_five_copies_of_an_image_are_worth_one() -> None:
    few = drawn_outcomes(120, seed=9)
    few = replace(few, patients=np.arange(120))
    many = few.take(np.repeat(np.arange(120), 5))
    bootstrap = Bootstrap(2000, 0.95, 1)
    for metric in ("sensitivity", "specificity", "accuracy"):
        once, often = (evaluate(sample, bootstrap, [metric])[metric] for sample in (few, many))
        assert often["low"] == pytest.approx(once["low"], abs=0.012)
        assert often["high"] == pytest.approx(once["high"], abs=0.012)


def test_no_error_among_few_patients_is_no_certainty() -> None:
    found = clustered(np.ones(201), images=100, patients=20, confidence=0.95)
    assert found == wilson(1.0, 20, 0.95)
    assert clustered(np.full(5, np.nan), 0, 0, 0.95) == {"value": None, "low": None, "high": None}


def test_rates_of_a_missing_class_are_undefined() -> None:
    rates = evaluate(outcomes([1, 1, 1], [0.9, 0.8, 0.7]), Bootstrap(100, 0.95, 1))
    assert rates["specificity"]["value"] is None
    assert rates["sensitivity"]["value"] == 1


@pytest.mark.parametrize(
    ("share", "patients", "images_each"), [(0.96, 90, 1), (0.99, 90, 1), (0.98, 290, 1), (0.95, 60, 4)]
)
def test_intervals_of_shares_near_one_hold_the_truth(share: float, patients: int, images_each: int) -> None:
    """Of patients with several images each image is right with a chance of the patient's own (beta, rho = 1/3)."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        chance = np.full(patients, share) if images_each == 1 else rng.beta(2 * share, 2 * (1 - share), patients)
        right = rng.random((patients, images_each)) < chance[:, None]
        weights = rng.multinomial(patients, np.full(patients, 1 / patients), size=200)
        resampled = (weights @ right.sum(1)) / (patients * images_each)
        values = np.concatenate([[right.mean()], resampled])
        found = clustered(values, right.size, patients, 0.95)
        held += found["low"] <= share <= found["high"]
    assert 0.92 <= held / 400 <= 0.985
