from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from factories import drawn_outcomes, outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import METRICS
from medscreen.evaluation.paired_comparison import delong, delong_auroc, paired_bootstrap, paired_lower_bound, spread

Floats = NDArray[np.float64]
BOOTSTRAP = Bootstrap(200, 0.95, 3)
UNDEFINED = {"value": None, "low": None, "high": None}

# albumin, total protein, K-G score (the lower, the worse), survival: the 43 complete patients of DeLong, DeLong,
# Clarke-Pearson 1988, as printed in the SAS/STAT User's Guide, The LOGISTIC Procedure, "Comparing Receiver Operating
# Characteristic Curves"; there totscore = 10 - K-G and the event is popind = 0
OVARIAN_TEXT = """
    3.0 5.8 10 0   3.2 6.3 5 1   3.9 6.8 3 1   2.8 4.8 6 0   3.2 5.8 3 1   0.9 4.0 5 0
    2.5 5.7 8 0   1.6 5.6 5 1   3.8 5.7 5 1   3.7 6.7 6 1   3.2 5.4 4 1   3.8 6.6 6 1
    4.1 6.6 5 1   3.6 5.7 5 1   4.3 7.0 4 1   3.6 6.7 4 0   2.3 4.4 6 1   4.2 7.6 4 0
    4.0 6.6 6 0   3.5 5.8 6 1   3.8 6.8 7 1   3.0 4.7 8 0   4.5 7.4 5 1   3.7 7.4 5 1
    3.1 6.6 6 1   4.1 8.2 6 1   4.3 7.0 5 1   4.3 6.5 4 1   3.2 5.1 5 1   2.6 4.7 6 1
    3.3 6.8 6 0   1.7 4.0 7 0   3.7 6.1 5 1   3.3 6.3 7 1   4.2 7.7 6 1   3.5 6.2 5 1
    2.9 5.7 9 0   2.1 4.8 7 1   2.8 6.2 8 0   4.0 7.0 7 1   3.3 5.7 6 1   3.7 6.9 5 1
    3.6 6.6 5 1
"""
OVARIAN = np.array(OVARIAN_TEXT.split(), np.float64).reshape(43, 4)
EVENT = (OVARIAN[:, 3] == 0).astype(np.int64)
ALBUMIN, PROTEIN, KG = -OVARIAN[:, 0], -OVARIAN[:, 1], OVARIAN[:, 2]


@pytest.mark.parametrize(
    ("score", "area", "low", "high"),
    [(ALBUMIN, 0.7366, 0.5549, 0.9182), (KG, 0.7258, 0.5243, 0.9273), (PROTEIN, 0.6478, 0.4518, 0.8439)],
)
def test_an_auroc_and_its_interval_are_the_published_ones(score: Floats, area: float, low: float, high: float) -> None:
    estimate = delong_auroc(EVENT, score, 0.95)
    assert estimate == pytest.approx({"value": area, "low": low, "high": high}, abs=5e-5)


@pytest.mark.parametrize(
    ("score", "difference", "error", "low", "high", "p_value"),
    [(ALBUMIN, 0.0108, 0.0953, -0.1761, 0.1976, 0.9102), (PROTEIN, -0.0780, 0.1046, -0.2830, 0.1271, 0.4561)],
)
def test_the_comparison_with_the_kg_score_is_the_published_one(
    score: Floats, difference: float, error: float, low: float, high: float, p_value: float
) -> None:
    assert delong(EVENT, score, KG, 0.95) == pytest.approx(
        {"difference": difference, "standard_error": error, "p_value": p_value, "low": low, "high": high}, abs=5e-5
    )


def delong_by_pairs(labels: Any, a: Any, b: Any) -> tuple[float, float]:
    """Difference and standard error from every pair of images, as DeLong 1988 writes the components."""
    normal, abnormal = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)

    def wins(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    areas, of_abnormal, of_normal = [], [], []
    for scores in (a, b):
        table = [[wins(scores[i], scores[j]) for j in normal] for i in abnormal]
        areas.append(np.mean(table))
        of_abnormal.append(np.mean(table, axis=1))
        of_normal.append(np.mean(table, axis=0))
    covariance = np.cov(of_abnormal) / len(abnormal) + np.cov(of_normal) / len(normal)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return float(areas[0] - areas[1]), float(np.sqrt(max(variance, 0)))


@settings(deadline=None, database=None, max_examples=60, derandomize=True)
@given(st.integers(0, 10_000), st.integers(4, 40), st.sampled_from([1.0, 2.0, 50.0]))
def test_midranks_give_what_all_pairs_give(seed: int, number: int, grain: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(number) % 2)
    a = np.round(rng.normal(labels, 1) * grain) / grain
    b = np.round((a + rng.normal(0, 1, number)) * grain) / grain
    difference, error = delong_by_pairs(labels, a, b)
    found = delong(labels, a, b, 0.9)
    assert found["difference"] == pytest.approx(difference, abs=1e-6)
    assert found["standard_error"] == pytest.approx(error, abs=1e-6)
    if error < 1e-6:
        assert found["p_value"] is None
    else:
        assert found["p_value"] == pytest.approx(2 * norm.sf(abs(difference) / error))
        assert found["high"] - found["low"] == pytest.approx(2 * norm.ppf(0.95) * error, abs=2e-6)


def test_the_area_is_that_of_scikit_learn() -> None:
    sample = drawn_outcomes(90, seed=3, ties=True)
    expected = roc_auc_score(sample.labels, sample.scores)
    assert delong_auroc(sample.labels, sample.scores, 0.95)["value"] == pytest.approx(expected, abs=1e-6)


def test_the_order_of_the_detectors_is_the_sign_of_the_difference() -> None:
    there, back = delong(EVENT, ALBUMIN, KG, 0.95), delong(EVENT, KG, ALBUMIN, 0.95)
    assert there["difference"] == -back["difference"]
    assert there["p_value"] == back["p_value"]
    assert (there["low"], there["high"]) == (-back["high"], -back["low"])


def test_a_detector_does_not_differ_from_itself() -> None:
    assert delong(EVENT, KG, 3 * KG + 1, 0.95) == {
        "difference": 0, "standard_error": 0, "p_value": None, "low": 0, "high": 0,
    }  # fmt: skip


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1, 1], [0, 1, 1, 1], [0, 0, 1]])
def test_too_few_images_of_a_class_give_nothing(labels: list[int]) -> None:
    truth, scores = np.array(labels, np.int64), np.arange(len(labels), dtype=np.float64)
    assert set(delong(truth, scores, -scores, 0.95).values()) == {None}
    assert delong_auroc(truth, scores, 0.95) == UNDEFINED


def test_an_interval_of_an_auroc_ends_at_one() -> None:
    labels, scores = np.arange(20) // 10, np.arange(20, dtype=np.float64)
    assert delong_auroc(labels, scores, 0.95) == {"value": 1, "low": 1, "high": 1}
    scores[9] = 10.5
    assert delong_auroc(labels, scores, 0.95)["high"] == 1


@pytest.mark.parametrize("name", METRICS)
def test_a_paired_bootstrap_compares_on_the_same_resamples(name: str) -> None:
    a = drawn_outcomes(80, seed=4)
    noise = np.random.default_rng(5).normal(0, 0.5, 80)
    b = outcomes(a.labels, a.scores + noise, 0.5, a.patients, 0.25, np.clip(a.probabilities + noise / 9, 0, 1))
    b = replace(b, deferred=np.abs(b.scores - 0.5) <= 0.5)
    weights = BOOTSTRAP.weights(a.patients)
    differences = METRICS[name](a, weights) - METRICS[name](b, weights)
    estimate = paired_bootstrap(a, b, name, BOOTSTRAP)
    assert estimate["value"] == pytest.approx(differences[0], abs=1e-6)
    assert [estimate["low"], estimate["high"]] == pytest.approx(np.quantile(differences[1:], [0.025, 0.975]), abs=1e-6)
    apart = [BOOTSTRAP.estimate(METRICS[name](sample, weights)) for sample in (a, b)]
    assert estimate["high"] - estimate["low"] < sum(one["high"] - one["low"] for one in apart)


def test_a_paired_bootstrap_is_of_the_same_images_only() -> None:
    a = drawn_outcomes(20, seed=4)
    other_patients = outcomes(a.labels, a.scores, patients=a.patients[::-1])
    for other in (drawn_outcomes(20, seed=5), drawn_outcomes(22, seed=4), other_patients):
        with pytest.raises(ValueError, match="same images"):
            paired_bootstrap(a, other, "auroc", BOOTSTRAP)


def test_a_paired_bootstrap_of_one_class_is_undefined() -> None:
    a = outcomes([1, 1], [0.1, 0.9])
    assert paired_bootstrap(a, a, "auroc", BOOTSTRAP) == UNDEFINED


def test_spread_over_seeds() -> None:
    assert spread([0.8, 0.9, 1.0]) == {"runs": 3, "mean": 0.9, "sd": 0.1}
    assert spread([0.8]) == {"runs": 1, "mean": 0.8, "sd": None}
    assert spread([]) == {"runs": 0, "mean": None, "sd": None}


def test_the_lower_bound_is_below_both_of_its_kinds() -> None:
    bootstrap = Bootstrap(500, 0.95, 3)
    a, b = drawn_outcomes(120, 1), drawn_outcomes(120, 1)
    b = replace(b, scores=b.scores + np.random.default_rng(0).normal(0, 1.5, 120))
    bound = paired_lower_bound(a, b, "auroc", bootstrap)
    two_sided = paired_bootstrap(a, b, "auroc", replace(bootstrap, confidence=0.9))
    assert bound <= two_sided["low"] < two_sided["value"]
    assert paired_lower_bound(a, b, "auroc", replace(bootstrap, confidence=0.99)) < bound
    normal_only = a.take(np.flatnonzero(a.labels == 0))
    assert paired_lower_bound(normal_only, normal_only, "auroc", bootstrap) is None
