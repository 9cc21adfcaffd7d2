from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from factories import drawn_outcomes as drawn
from factories import outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import METRICS, auroc, average_precision, evaluate
from medscreen.evaluation.outcomes import Outcomes, balanced_view, confusion

Floats = NDArray[np.float64]
QUIET = settings(deadline=None, database=None, max_examples=60, derandomize=True)


def specificity(y: Any, called: Any, w: Any) -> float:
    return float(sk.recall_score(y, called, pos_label=0, sample_weight=w))


def calibration_error(sample: Outcomes, weights: Any) -> float:
    """ECE as Guo 2017 writes it, from scikit-learn's calibration curve of the images drawn."""
    again = sample.take(np.repeat(np.arange(len(weights)), weights.astype(int)))
    share, mean = calibration_curve(again.labels, again.probabilities, n_bins=15, strategy="uniform")
    counts, _ = np.histogram(again.probabilities, np.linspace(0, 1, 16))
    return float((counts[counts > 0] * np.abs(share - mean)).sum() / weights.sum())


def kept_accuracy(sample: Outcomes, weights: Any) -> float:
    return float(sk.accuracy_score(sample.labels, sample.abnormal, sample_weight=weights))


REFERENCE: dict[str, Callable[[Outcomes, Any], float]] = {
    "auroc": lambda o, w: sk.roc_auc_score(o.labels, o.scores, sample_weight=w),
    "average_precision": lambda o, w: sk.average_precision_score(o.labels, o.scores, sample_weight=w),
    "accuracy": lambda o, w: sk.accuracy_score(o.labels, o.abnormal, sample_weight=w),
    "balanced_accuracy": lambda o, w: sk.balanced_accuracy_score(o.labels, o.abnormal, sample_weight=w),
    "sensitivity": lambda o, w: sk.recall_score(o.labels, o.abnormal, sample_weight=w),
    "specificity": lambda o, w: specificity(o.labels, o.abnormal, w),
    "ppv": lambda o, w: sk.precision_score(o.labels, o.abnormal, sample_weight=w),
    "npv": lambda o, w: sk.precision_score(o.labels, o.abnormal, pos_label=0, sample_weight=w),
    "f1": lambda o, w: sk.f1_score(o.labels, o.abnormal, sample_weight=w),
    "false_positive_rate": lambda o, w: 1 - specificity(o.labels, o.abnormal, w),
    "false_negative_rate": lambda o, w: 1 - sk.recall_score(o.labels, o.abnormal, sample_weight=w),
    "accuracy_at_half": lambda o, w: sk.accuracy_score(o.labels, o.scores >= o.decision_boundary, sample_weight=w),
    "brier": lambda o, w: sk.brier_score_loss(o.labels, o.probabilities, sample_weight=w),
    "coverage": lambda o, w: float(np.average(~o.deferred, weights=w)),
    "error_kept": lambda o, w: 1 - kept_accuracy(o, w * ~o.deferred),
    "error_deferred": lambda o, w: 1 - kept_accuracy(o, w * o.deferred),
    "ece": calibration_error,
}


def test_every_metric_has_a_reference() -> None:
    assert set(REFERENCE) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("ties", [False, True])
def test_a_metric_agrees_with_scikit_learn_on_every_resample(name: str, ties: bool) -> None:
    sample = drawn(80, seed=4, ties=ties)
    weights = Bootstrap(resamples=25, confidence=0.95, seed=3).weights(sample.patients)
    expected = [REFERENCE[name](sample, row) for row in weights]
    np.testing.assert_allclose(METRICS[name](sample, weights), expected, rtol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_a_weight_of_two_is_an_image_twice(name: str) -> None:
    sample = drawn(40, seed=5, ties=True)
    weights = np.random.default_rng(6).integers(0, 4, 40).astype(float)
    repeated = sample.take(np.repeat(np.arange(40), weights.astype(int)))
    once = np.ones((1, len(repeated.labels)))
    np.testing.assert_allclose(METRICS[name](sample, weights[None]), METRICS[name](repeated, once))


@st.composite
def labelled_scores(draw: st.DrawFn) -> Outcomes:
    few = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0])
    many = st.floats(-1e6, 1e6, allow_nan=False, width=32)
    pairs = draw(st.lists(st.tuples(st.integers(0, 1), draw(st.sampled_from([few, many]))), min_size=2, max_size=40))
    labels = [label for label, _ in pairs]
    assume(0 < sum(labels) < len(labels))
    return outcomes(labels, [score for _, score in pairs])


@QUIET
@given(labelled_scores())
def test_auroc_and_average_precision_are_those_of_scikit_learn(sample: Outcomes) -> None:
    once = np.ones((1, len(sample.labels)))
    assert auroc(sample, once)[0] == pytest.approx(sk.roc_auc_score(sample.labels, sample.scores))
    expected = sk.average_precision_score(sample.labels, sample.scores)
    assert average_precision(sample, once)[0] == pytest.approx(expected)


def test_the_auroc_of_many_resamples_is_that_of_each() -> None:
    sample = drawn(3000, seed=4, ties=True)
    weights = Bootstrap(200, 0.95, 1).weights(sample.patients)
    together = auroc(sample, weights)
    assert together.shape == (201,)
    np.testing.assert_array_equal(together, [auroc(sample, row[None])[0] for row in weights])


@QUIET
@given(labelled_scores())
def test_a_reversed_score_has_the_complementary_auroc(sample: Outcomes) -> None:
    once = np.ones((1, len(sample.labels)))
    reverse = outcomes(sample.labels, -sample.scores)
    assert auroc(sample, once)[0] + auroc(reverse, once)[0] == pytest.approx(1)


@QUIET
@given(labelled_scores(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(sample: Outcomes, random: Any) -> None:
    order = list(range(len(sample.labels)))
    random.shuffle(order)
    once = np.ones((1, len(order)))
    shuffled = sample.take(np.array(order))
    for metric in (auroc, average_precision):
        assert metric(sample, once)[0] == pytest.approx(metric(shuffled, once)[0])


def test_constant_scores_are_a_coin() -> None:
    sample = outcomes([0, 0, 1, 1, 1, 0, 0, 0] * 10, np.full(80, 2.0))
    estimates = evaluate(sample, Bootstrap(200, 0.95, 1), ["auroc", "average_precision"])
    assert estimates["auroc"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert estimates["average_precision"]["value"] == 0.375


def test_confusion_counts_every_image_once() -> None:
    sample = drawn(100, seed=9, ties=False)
    (tn, fp), (fn, tp) = sk.confusion_matrix(sample.labels, sample.abnormal)
    assert confusion(sample) == {
        "true_negative": tn, "false_positive": fp, "false_negative": fn, "true_positive": tp,
    }  # fmt: skip


def test_the_first_row_of_weights_is_the_sample_itself() -> None:
    weights = Bootstrap(50, 0.95, 1).weights(np.array([3, 3, 9, 4]))
    assert weights.shape == (51, 4)
    np.testing.assert_array_equal(weights[0], 1)


def test_images_of_one_patient_are_resampled_together() -> None:
    patients = np.array([7, 2, 7, 2, 5, 7])
    weights = Bootstrap(200, 0.95, 1).weights(patients)
    for patient in (2, 5, 7):
        mine = weights[:, patients == patient]
        assert (mine == mine[:, :1]).all()
    persons = weights[1:, [0, 1, 4]]
    np.testing.assert_array_equal(persons.sum(axis=1), 3)
    assert len(np.unique(persons, axis=0)) == 10  # the multisets of 3 out of 3
    assert abs(persons.mean(axis=0) - 1).max() < 0.2


def test_many_images_of_few_patients_give_wider_intervals() -> None:
    rng = np.random.default_rng(2)
    person = np.repeat(np.arange(40), 10)
    labels = (np.arange(40) % 2)[person]
    scores = rng.normal(0, 1, 40)[person] + labels + rng.normal(0, 0.1, 400)
    bootstrap = Bootstrap(400, 0.95, 1)

    def width(patients: Any) -> float:
        estimate = evaluate(outcomes(labels, scores, patients=patients), bootstrap, ["auroc"])["auroc"]
        return estimate["high"] - estimate["low"]

    assert width(person) > 2 * width(np.arange(400))


def test_an_interval_is_the_quantiles_of_the_resamples() -> None:
    values = np.concatenate([[0.5], np.arange(101) / 100])
    assert Bootstrap(101, 0.9, 1).estimate(values) == {"value": 0.5, "low": 0.05, "high": 0.95}


def test_undefined_resamples_are_left_out() -> None:
    values = np.array([0.5, np.nan, 0.2, np.inf, 0.2])
    assert Bootstrap(4, 0.9, 1).estimate(values) == {"value": 0.5, "low": 0.2, "high": 0.2}


def test_a_ratio_over_nothing_is_undefined() -> None:
    nothing_called = outcomes([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], threshold=9)
    estimates = evaluate(nothing_called, Bootstrap(100, 0.95, 1))
    undefined = {"value": None, "low": None, "high": None}
    assert estimates["ppv"] == undefined
    assert estimates["sensitivity"]["value"] == 0
    assert estimates["f1"]["value"] == 0
    everything_called = outcomes([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], threshold=0)
    assert evaluate(everything_called, Bootstrap(100, 0.95, 1))["npv"] == undefined
    assert evaluate(outcomes([1, 1], [0.1, 0.9]), Bootstrap(100, 0.95, 1))["auroc"] == undefined


NOT_FOR_ALL = {"accuracy_at_half", "brier", "ece", "coverage", "error_kept", "error_deferred"}


def test_all_metrics_that_apply_are_estimated() -> None:
    sample = drawn(60, seed=1, ties=False)
    assert set(evaluate(sample, Bootstrap(100, 0.95, 1))) == set(METRICS)
    without = outcomes(sample.labels, sample.scores)
    assert set(evaluate(without, Bootstrap(100, 0.95, 1))) == set(METRICS) - NOT_FOR_ALL
    assert list(evaluate(sample, Bootstrap(100, 0.95, 1), ["f1"])) == ["f1"]
    for name in ("accuracy_at_half", "brier", "ece"):
        with pytest.raises(ValueError, match="no probabilities"):
            evaluate(without, Bootstrap(100, 0.95, 1), [name])


def test_intervals_hold_their_values_and_repeat() -> None:
    sample = drawn(120, seed=1, ties=False)
    estimates = evaluate(sample, Bootstrap(300, 0.95, 5))
    assert estimates.pop("ece")["low"] is None  # see ece_by_chance
    for name, estimate in estimates.items():
        assert estimate["low"] <= estimate["value"] <= estimate["high"], name
        assert estimate["low"] < estimate["high"], name
    again = evaluate(sample, Bootstrap(300, 0.95, 5))
    assert estimates == {name: again[name] for name in estimates}
    assert estimates["auroc"] != evaluate(sample, Bootstrap(300, 0.95, 6))["auroc"]
    wider = evaluate(sample, Bootstrap(300, 0.99, 5))
    assert wider["auroc"]["low"] < estimates["auroc"]["low"]


def test_a_balanced_view_holds_as_many_of_both_classes() -> None:
    labels = (np.random.default_rng(3).random(200) < 0.7).astype(np.int64)
    view = balanced_view(labels, seed=7)
    rare = np.flatnonzero(labels == 0)
    assert (labels[view] == 0).sum() == (labels[view] == 1).sum() == len(rare)
    assert set(rare) <= set(view)
    assert len(set(view)) == len(view)
    np.testing.assert_array_equal(view, np.sort(view))
    np.testing.assert_array_equal(view, balanced_view(labels, seed=7))
    assert set(view) != set(balanced_view(labels, seed=8))


def test_take_keeps_an_images_facts_together() -> None:
    sample = drawn(10, seed=2, ties=False)
    taken = sample.take(np.array([7, 1]))
    for name in ("labels", "scores", "abnormal", "patients", "probabilities"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(sample, name)[[7, 1]])
    assert taken.decision_boundary == sample.decision_boundary
    assert outcomes([0, 1], [0, 1]).take(np.array([1])).probabilities is None


def test_no_images_have_no_metrics() -> None:
    nothing = drawn(10, seed=2).take(np.array([], dtype=np.int64))
    estimates = evaluate(nothing, Bootstrap(100, 0.95, 1))
    assert set(estimates) == set(METRICS)
    assert all(estimate == {"value": None, "low": None, "high": None} for estimate in estimates.values())
