"""Calibration, and what a decision by probability is worth."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_score

from factories import drawn_outcomes, outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.calibration_error import brier, ece, ece_by_chance, reliability
from medscreen.evaluation.decision_curve import decision_curve, predictive_values
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.proportion_intervals import wilson

BOOTSTRAP = Bootstrap(200, 0.95, 3)
UNDEFINED = {"value": None, "low": None, "high": None}


def test_brier_and_ece_by_hand() -> None:
    sample = outcomes([0, 0, 1, 1], np.zeros(4), probabilities=[0.01, 0.03, 0.9, 0.7])
    once = np.ones((1, 4))
    assert brier(sample, once)[0] == pytest.approx((0.0001 + 0.0009 + 0.01 + 0.09) / 4)
    # the first two share a bin: |0 - 0.02| twice; the others have one each
    assert ece(sample, once)[0] == pytest.approx((2 * 0.02 + 0.1 + 0.3) / 4)
    twice = np.array([[2.0, 0.0, 0.0, 1.0]])
    assert ece(sample, twice)[0] == pytest.approx((2 * 0.01 + 0.3) / 3)


def test_sure_and_right_is_perfect_and_sure_and_wrong_is_worst() -> None:
    for stated, expected in (([0, 1], 0), ([1, 0], 1)):
        estimates = evaluate(outcomes([0, 1] * 20, [0, 1] * 20, probabilities=stated * 20), BOOTSTRAP, ["brier", "ece"])
        assert estimates["brier"] == {"value": expected, "low": expected, "high": expected}
        assert estimates["ece"] == {"value": expected, "low": None, "high": None}


def test_the_reliability_table_is_that_of_scikit_learn() -> None:
    sample = drawn_outcomes(237, seed=6)
    table = reliability(sample, 0.95)
    share, mean = calibration_curve(sample.labels, sample.probabilities, n_bins=10, strategy="quantile")
    assert [row["observed"]["value"] for row in table] == pytest.approx(share, abs=1e-6)
    assert [row["mean_probability"] for row in table] == pytest.approx(mean, abs=1e-6)
    assert sum(row["images"] for row in table) == 237
    assert {row["images"] for row in table} <= {23, 24}


def test_a_bin_has_a_wilson_interval() -> None:
    sample = outcomes(np.tile([0, 0, 1, 1, 1], 20), np.zeros(100), probabilities=np.repeat([0.2, 0.7], 50))
    assert reliability(sample, 0.95) == [
        {"images": 50, "mean_probability": 0.2, "observed": wilson(0.6, 50, 0.95)},
        {"images": 50, "mean_probability": 0.7, "observed": wilson(0.6, 50, 0.95)},
    ]


def test_equal_probabilities_share_a_bin() -> None:
    sample = outcomes([0, 1, 0], np.zeros(3), probabilities=[0.4, 0.4, 0.4])
    assert [row["images"] for row in reliability(sample, 0.95)] == [3]
    assert reliability(sample.take(np.array([], np.int64)), 0.95) == []


def test_no_probability_no_table() -> None:
    without = outcomes([0, 1], [0, 1])
    with pytest.raises(ValueError, match="no probabilities"):
        reliability(without, 0.95)
    with pytest.raises(ValueError, match="no probabilities"):
        decision_curve(without, [0.1], BOOTSTRAP)


def screening(sensitivity: int, specificity: int) -> tuple[list[int], list[float]]:
    """1000 abnormal and 1000 normal images of which so many are rightly called."""
    scores = [1.0] * sensitivity + [0.0] * (1000 - sensitivity) + [0.0] * specificity + [1.0] * (1000 - specificity)
    return [1] * 1000 + [0] * 1000, scores


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "prevalence", "ppv"),
    [
        (792, 904, 0.01, 0.0769),  # the mammogram of Eddy 1982: about 7.7 percent
        (900, 910, 0.01, 0.0917),  # 9 of 9 + 89.1 with a positive mammogram
        (1000, 950, 0.001, 0.0196),  # the Harvard Medical School question, Casscells 1978: 2 percent
        (900, 900, 0.5, 0.9),
    ],
)
def test_ppv_by_bayes(sensitivity: int, specificity: int, prevalence: float, ppv: float) -> None:
    sample = outcomes(*screening(sensitivity, specificity))
    values = predictive_values(sample, prevalence, BOOTSTRAP)
    assert values["ppv"]["value"] == pytest.approx(ppv, abs=5e-5)
    se, sp = sensitivity / 1000, specificity / 1000
    npv = sp * (1 - prevalence) / (sp * (1 - prevalence) + (1 - se) * prevalence)
    assert values["npv"]["value"] == pytest.approx(npv, abs=1e-6)


def test_at_the_samples_own_prevalence_they_are_the_samples_own() -> None:
    sample = drawn_outcomes(150, seed=7)
    values = predictive_values(sample, float(sample.labels.mean()), BOOTSTRAP)
    assert values["ppv"]["value"] == pytest.approx(precision_score(sample.labels, sample.abnormal), abs=1e-6)
    npv = precision_score(sample.labels, sample.abnormal, pos_label=0)
    assert values["npv"]["value"] == pytest.approx(npv, abs=1e-6)
    for estimate in values.values():
        assert estimate["low"] < estimate["value"] < estimate["high"]


def test_predictive_values_at_the_ends_and_of_one_class() -> None:
    sample = drawn_outcomes(50, seed=7)
    assert predictive_values(sample, 0.0, BOOTSTRAP)["ppv"]["value"] == 0
    assert predictive_values(sample, 0.0, BOOTSTRAP)["npv"]["value"] == 1
    assert predictive_values(sample, 1.0, BOOTSTRAP)["ppv"]["value"] == 1
    assert predictive_values(outcomes([1, 1], [0, 1]), 0.1, BOOTSTRAP) == {"ppv": UNDEFINED, "npv": UNDEFINED}


def test_net_benefit_by_hand() -> None:
    sample = outcomes([1, 1, 0, 0, 0], np.zeros(5), probabilities=[0.9, 0.2, 0.6, 0.3, 0.1])
    low, high = decision_curve(sample, [0.2, 0.5], BOOTSTRAP)
    assert (low["threshold"], low["treat_none"]) == (0.2, 0)
    assert low["model"]["value"] == pytest.approx(2 / 5 - 2 / 5 * 0.25)
    assert low["treat_all"]["value"] == pytest.approx(2 / 5 - 3 / 5 * 0.25)
    assert high["model"]["value"] == pytest.approx(1 / 5 - 1 / 5)
    assert high["treat_all"]["value"] == pytest.approx(2 / 5 - 3 / 5)


def test_a_decision_curve_begins_where_all_are_treated() -> None:
    sample = drawn_outcomes(100, seed=7)
    curve = decision_curve(sample, [0.0, 0.3, 0.999], BOOTSTRAP)
    assert curve[0]["model"] == curve[0]["treat_all"]
    assert curve[0]["model"]["value"] == pytest.approx(sample.labels.mean())
    assert curve[1]["model"]["low"] < curve[1]["model"]["value"] < curve[1]["model"]["high"]
    assert curve[2]["treat_all"]["value"] < -100


def test_nothing_is_worth_nothing() -> None:
    nothing = drawn_outcomes(10, seed=7).take(np.array([], np.int64))
    assert decision_curve(nothing, [0.1], BOOTSTRAP)[0]["model"] == UNDEFINED
    assert predictive_values(nothing, 0.1, BOOTSTRAP)["ppv"] == UNDEFINED


def test_the_ece_that_chance_gives_is_not_exceeded_where_probabilities_are_right() -> None:
    exceeded = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        stated = rng.random(200)
        sample = outcomes((rng.random(200) < stated).astype(int), stated, probabilities=stated)
        by_chance = ece_by_chance(sample, Bootstrap(200, 0.9, seed))
        assert by_chance["low"] < by_chance["value"] < by_chance["high"]
        exceeded += ece(sample, np.ones((1, 200)))[0] > by_chance["high"]
    assert 0.02 <= exceeded / 200 <= 0.08  # half of the 10 % that the range leaves out


def test_the_ece_of_overconfidence_is_more_than_chance() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, 500)
    labels = (rng.random(500) < 1 / (1 + np.exp(-logits))).astype(int)
    sample = outcomes(labels, logits, probabilities=1 / (1 + np.exp(-4 * logits)))
    assert ece(sample, np.ones((1, 500)))[0] > ece_by_chance(sample, Bootstrap(200, 0.95, 1))["high"]
