from typing import Any

import numpy as np
import pytest

from factories import drawn_outcomes, outcomes
from medscreen.config.operating import (
    BestAccuracyPolicy,
    CostPolicy,
    F1Policy,
    HealthyQuantilePolicy,
    MeanSdPolicy,
    Policy,
    SensitivityPolicy,
    SpecificityPolicy,
    YoudenPolicy,
)
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import Outcomes
from medscreen.operating.threshold_comparison import compare_policies, described
from medscreen.operating.threshold_policies import choose_threshold

BOOTSTRAP = Bootstrap(200, 0.9, 3)
QUANTILE = HealthyQuantilePolicy(policy="healthy_quantile", quantile=0.9)
YOUDEN = YoudenPolicy(policy="youden")
POLICIES: list[Policy] = [
    MeanSdPolicy(policy="mean_sd", sd=1.5),
    QUANTILE,
    BestAccuracyPolicy(policy="best_accuracy"),
    YOUDEN,
    F1Policy(policy="f1"),
    SensitivityPolicy(policy="sensitivity", at_least=0.9),
    SpecificityPolicy(policy="specificity", at_least=0.9),
    CostPolicy(policy="cost", false_positive=1.0, false_negative=10.0, prevalence=0.05),
]
SPLITS = {"val": drawn_outcomes(300, seed=1), "test": drawn_outcomes(220, seed=2)}


def resampled(policy: Policy, val: Outcomes) -> list[float]:
    """The threshold on each resample that has both classes."""
    found = []
    for row in BOOTSTRAP.weights(val.patients)[1:]:
        drawn = [image for image, times in enumerate(row) for _ in range(int(times))]
        if len(set(val.labels[drawn])) == 2:
            found.append(choose_threshold(policy, val.scores[drawn], val.labels[drawn]))
    return found


@pytest.fixture(scope="module")
def rows() -> list[Any]:
    return compare_policies(POLICIES, SPLITS, BOOTSTRAP)


def test_there_is_a_row_a_policy_in_their_order(rows: list[Any]) -> None:
    assert [row["policy"] for row in rows] == [described(policy) for policy in POLICIES]
    assert compare_policies([], SPLITS, BOOTSTRAP) == []


def test_a_threshold_is_what_the_policy_chooses_on_val(rows: list[Any]) -> None:
    chosen = [choose_threshold(policy, SPLITS["val"].scores, SPLITS["val"].labels) for policy in POLICIES]
    assert [row["threshold"]["value"] for row in rows] == pytest.approx(chosen, rel=1e-5)
    assert len(set(chosen)) > 5


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_rates_are_those_at_that_threshold(rows: list[Any], number: int) -> None:
    threshold = choose_threshold(POLICIES[number], SPLITS["val"].scores, SPLITS["val"].labels)
    assert list(rows[number]["rates"]) == ["val", "test"]
    for split, sample in SPLITS.items():
        called, normal = sample.scores >= threshold, sample.labels == 0
        found = rows[number]["rates"][split]
        assert list(found) == ["false_positive_rate", "false_negative_rate"]
        assert found["false_positive_rate"]["value"] == pytest.approx(called[normal].mean(), abs=2e-6)
        assert found["false_negative_rate"]["value"] == pytest.approx(1 - called[~normal].mean(), abs=2e-6)
        assert found == evaluate(sample.at(threshold), BOOTSTRAP, list(found))


def test_drift_is_the_rate_on_test_less_that_on_val(rows: list[Any]) -> None:
    for row in rows:
        for rate, drift in row["drift"].items():
            assert drift == pytest.approx(row["rates"]["test"][rate]["value"] - row["rates"]["val"][rate]["value"])
        assert list(row["drift"]) == ["false_positive_rate", "false_negative_rate"]
    assert any(drift < 0 for row in rows for drift in row["drift"].values())
    assert any(drift > 0 for row in rows for drift in row["drift"].values())


def test_a_class_that_test_lacks_has_neither_rate_nor_drift() -> None:
    healthy = outcomes([0, 0, 0], [-1.0, 0.2, 4.0])
    (row,) = compare_policies([YOUDEN], {"val": SPLITS["val"], "test": healthy}, BOOTSTRAP)
    assert row["rates"]["test"]["false_negative_rate"] == {"value": None, "low": None, "high": None}
    assert row["drift"]["false_negative_rate"] is None
    assert row["drift"]["false_positive_rate"] is not None


@pytest.mark.parametrize("number", range(len(POLICIES)))
def test_the_interval_of_a_threshold_is_from_resampled_patients_of_val(rows: list[Any], number: int) -> None:
    again = resampled(POLICIES[number], SPLITS["val"])
    threshold = rows[number]["threshold"]
    assert [threshold["low"], threshold["high"]] == pytest.approx(np.quantile(again, [0.05, 0.95]), rel=1e-5)
    assert threshold["low"] <= threshold["value"] <= threshold["high"]
    assert threshold["low"] < threshold["high"]


def values_of(row: Any) -> list[float]:
    return [rate["value"] for of_split in row["rates"].values() for rate in of_split.values()]


def test_the_same_seed_gives_the_same_bench(rows: list[Any]) -> None:
    assert compare_policies(POLICIES, SPLITS, BOOTSTRAP) == rows
    other = compare_policies(POLICIES, SPLITS, Bootstrap(200, 0.9, 4))
    shares = [
        [of["value"] for of_split in row["rates"].values() for of in of_split.values()] for row in (*other, *rows)
    ]
    assert shares[: len(other)] == shares[len(other) :]
    assert [row["threshold"]["low"] for row in other] != [row["threshold"]["low"] for row in rows]


@pytest.mark.parametrize("rare", [0, 1])
def test_resamples_that_lack_a_class_do_no_harm(rare: int) -> None:
    labels = np.full(30, 1 - rare)
    labels[5] = rare
    val = outcomes(labels, np.arange(30.0))
    for policy in (YOUDEN, QUANTILE):
        again = resampled(policy, val)
        assert 90 < len(again) < 160  # of 200
        (row,) = compare_policies([policy], {"val": val, "test": SPLITS["test"]}, BOOTSTRAP)
        ends = [row["threshold"]["low"], row["threshold"]["high"]]
        if policy is QUANTILE and rare == 1:  # which looks at the 29 normal ones alone
            assert ends == pytest.approx(np.quantile(again, [0.05, 0.95]), rel=1e-5)
        else:
            assert ends == [None, None]


def test_a_score_that_is_the_threshold_in_single_precision_is_called_abnormal() -> None:
    val = outcomes([0, 0, 0, 1], [0.1, 0.1, 0.1, 0.3])  # the quantile .1 is rounded to 32 bits, upwards
    (row,) = compare_policies([QUANTILE], {"val": val, "test": val}, BOOTSTRAP)
    assert row["rates"]["val"]["false_positive_rate"]["value"] == 1.0


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (YOUDEN, "youden"),
        (MeanSdPolicy(policy="mean_sd", sd=2.0), "mean_sd sd=2"),
        (SensitivityPolicy(policy="sensitivity", at_least=0.95), "sensitivity at_least=0.95"),
        (POLICIES[-1], "cost false_positive=1 false_negative=10 prevalence=0.05"),
    ],
)
def test_a_policy_in_one_line(policy: Policy, line: str) -> None:
    assert described(policy) == line
