from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from factories import p_values
from medscreen.config.operating import (
    BestAccuracyPolicy,
    CostPolicy,
    DeferralParams,
    F1Policy,
    HealthyQuantilePolicy,
    MeanSdPolicy,
    OperatingParams,
    SensitivityPolicy,
    SpecificityPolicy,
    YoudenPolicy,
)
from medscreen.errors import MedscreenError
from medscreen.operating import probability_calibration as curves
from medscreen.operating.operating_point import choose_operating_point
from medscreen.operating.probability_calibration import LogisticCurve, SteppedCurve
from medscreen.operating.threshold_policies import choose_threshold

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
QUIET = settings(deadline=None, database=None, max_examples=80, derandomize=True)
ACCURACY, YOUDEN = BestAccuracyPolicy(policy="best_accuracy"), YoudenPolicy(policy="youden")
F1 = F1Policy(policy="f1")
COST = CostPolicy(policy="cost", false_positive=1.0, false_negative=8.0, prevalence=0.1)


def drawn(number: int, seed: int, ties: bool = False) -> tuple[Floats, Labels]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(number) < 0.35).astype(np.int64)
    scores = rng.normal(labels, 1.0).astype(np.float32).astype(np.float64)
    return (np.round(scores * 2) / 2 if ties else scores), labels


def accuracy(called: NDArray[np.bool_], labels: Labels) -> float:
    return float((called == (labels == 1)).mean())


def youden(called: NDArray[np.bool_], labels: Labels) -> float:
    return float(called[labels == 1].mean() - called[labels == 0].mean())


def f1(called: NDArray[np.bool_], labels: Labels) -> float:
    found, truth = float((called & (labels == 1)).sum()), labels == 1
    return 2 * found / float(called.sum() + truth.sum())


def saved(called: NDArray[np.bool_], labels: Labels) -> float:
    missed, alarmed = 1 - called[labels == 1].mean(), called[labels == 0].mean()
    return -float(0.1 * 8.0 * missed + 0.9 * 1.0 * alarmed)


MEASURES = [(ACCURACY, accuracy), (YOUDEN, youden), (F1, f1), (COST, saved)]


def platt(scores: Floats, labels: Labels) -> tuple[float, float]:
    curve = curves.platt(scores, labels)
    return curve.slope, curve.intercept


def best_by_brute_force(measure: Any, scores: Floats, labels: Labels) -> float:
    candidates = [*np.unique(scores), np.inf]
    return max(measure(scores >= threshold, labels) for threshold in candidates)


@pytest.mark.parametrize(("policy", "measure"), MEASURES)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better(policy: Any, measure: Any, ties: bool, seed: int) -> None:
    scores, labels = drawn(60, seed, ties)
    threshold = choose_threshold(policy, scores, labels)
    assert measure(scores >= threshold, labels) == pytest.approx(best_by_brute_force(measure, scores, labels))


@st.composite
def few_scores(draw: st.DrawFn) -> tuple[Floats, Labels]:
    number = draw(st.integers(2, 12))
    scores = draw(st.lists(st.integers(-3, 3), min_size=number, max_size=number))
    labels = draw(st.lists(st.integers(0, 1), min_size=number, max_size=number))
    assume(0 < sum(labels) < number)
    return np.array(scores, float), np.array(labels, np.int64)


@QUIET
@given(few_scores())
@pytest.mark.parametrize(("policy", "measure"), MEASURES)
def test_no_threshold_is_better_in_small_samples(policy: Any, measure: Any, data: tuple[Floats, Labels]) -> None:
    scores, labels = data
    threshold = choose_threshold(policy, scores, labels)
    assert np.isfinite(threshold)
    assert measure(scores >= threshold, labels) == pytest.approx(best_by_brute_force(measure, scores, labels))


@QUIET
@given(few_scores())
@pytest.mark.parametrize(("policy", "measure"), MEASURES)
def test_among_equals_the_lowest_threshold_wins(policy: Any, measure: Any, data: tuple[Floats, Labels]) -> None:
    scores, labels = data
    chosen = scores >= choose_threshold(policy, scores, labels)
    best = measure(chosen, labels)
    for threshold in np.unique(scores):
        if measure(scores >= threshold, labels) >= best - 1e-9:
            assert (scores >= threshold).sum() <= chosen.sum()


def test_a_chosen_threshold_lies_midway_between_two_scores() -> None:
    scores, labels = np.array([1.0, 2.0, 4.0, 5.0]), np.array([0, 0, 1, 1])
    assert choose_threshold(YOUDEN, scores, labels) == 3.0
    assert choose_threshold(ACCURACY, scores, labels) == 3.0


def test_where_nothing_is_best_called_nothing_is_called_even_in_single_precision() -> None:
    scores, labels = np.array([1.0, 2.0, 3.0]), np.array([1, 0, 0])
    scores = scores.astype(np.float32).astype(np.float64)
    threshold = choose_threshold(ACCURACY, scores, labels)
    assert not (scores.astype(np.float32) >= np.float32(threshold)).any()


@pytest.mark.parametrize("low", [1.0, 0.1, -3.0])
def test_a_threshold_separates_neighbouring_scores_in_single_precision(low: float) -> None:
    # the graph compares in single precision, where nothing lies between neighbors
    lower = np.float32(low)
    for _ in range(2):
        upper = np.nextafter(lower, np.float32(np.inf))
        scores = np.array([lower, lower, upper, upper])
        threshold = choose_threshold(YOUDEN, scores.astype(np.float64), np.array([0, 0, 1, 1]))
        np.testing.assert_array_equal(scores >= np.float32(threshold), [False, False, True, True])
        lower = upper


@pytest.mark.parametrize("sd", [-1.0, 0.0, 2.0])
def test_mean_sd_looks_at_healthy_scores_alone(sd: float) -> None:
    scores, labels = drawn(80, 1)
    policy = MeanSdPolicy(policy="mean_sd", sd=sd)
    healthy = scores[labels == 0]
    expected = healthy.mean() + sd * np.sqrt(((healthy - healthy.mean()) ** 2).mean())
    assert choose_threshold(policy, scores, labels) == pytest.approx(expected)
    scores[labels == 1] += 100
    assert choose_threshold(policy, scores, labels) == pytest.approx(expected)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.95])
def test_a_healthy_quantile_calls_that_share_of_the_healthy_normal(quantile: float) -> None:
    scores, labels = drawn(400, 1)
    policy = HealthyQuantilePolicy(policy="healthy_quantile", quantile=quantile)
    threshold = choose_threshold(policy, scores, labels)
    healthy = scores[labels == 0]
    assert (healthy < threshold).mean() == pytest.approx(quantile, abs=1 / len(healthy))
    scores[labels == 1] -= 100
    assert choose_threshold(policy, scores, labels) == threshold


def test_p_values_follow_their_definition() -> None:
    rng = np.random.default_rng(4)
    healthy = np.round(rng.normal(size=50), 1)
    scores = np.concatenate([np.round(rng.normal(size=60), 1), healthy[:5], [-99.0, 99.0]])
    expected = [(1 + sum(h >= score for h in healthy)) / 51 for score in scores]
    np.testing.assert_allclose(p_values(scores, healthy), expected)
    np.testing.assert_allclose(p_values(scores, rng.permutation(healthy)), expected)
    assert p_values(scores, healthy)[-2:].tolist() == [1.0, 1 / 51]


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("level", [0.05, 0.1, 0.3])
def test_p_values_are_small_no_more_often_than_they_say(decimals: int, level: float) -> None:
    rng = np.random.default_rng(5)
    repetitions = 6000
    hits = 0
    for _ in range(repetitions):
        exchangeable = np.round(rng.exponential(size=40), decimals)
        hits += p_values(exchangeable[:1], exchangeable[1:])[0] <= level
    assert hits / repetitions <= level + 3 * np.sqrt(level * (1 - level) / repetitions)
    if decimals == 9:
        assert hits / repetitions >= level - 1 / 40 - 3 * np.sqrt(level * (1 - level) / repetitions)


def platt_loss(slope: float, intercept: float, scores: Floats, labels: Labels) -> float:
    abnormal, normal = (labels == 1).sum(), (labels == 0).sum()
    target = np.where(labels == 1, (abnormal + 1) / (abnormal + 2), 1 / (normal + 2))
    logit = slope * scores + intercept
    return float((np.logaddexp(0, logit) - target * logit).sum())


def platt_by_scipy(scores: Floats, labels: Labels) -> tuple[float, float]:
    centre, spread = scores.mean(), scores.std() or 1.0
    standard = (scores - centre) / spread
    found = minimize(lambda x: platt_loss(x[0], x[1], standard, labels), [0.0, 0.0], method="BFGS", tol=1e-10)
    return found.x[0] / spread, found.x[1] - found.x[0] / spread * centre


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.3), (1e4, -5e4), (0.05, 100.0)])
def test_platt_minimises_the_soft_target_cross_entropy(scale: float, shift: float) -> None:
    scores, labels = drawn(150, 6)
    scores = scores * scale + shift
    slope, intercept = platt(scores, labels)
    expected = platt_by_scipy(scores, labels)
    probability, reference = (1 / (1 + np.exp(-(a * scores + b))) for a, b in ((slope, intercept), expected))
    np.testing.assert_allclose(probability, reference, atol=2e-5)
    assert platt_loss(slope, intercept, scores, labels) <= platt_loss(*expected, scores, labels) + 1e-6


def test_separable_classes_stay_finite() -> None:
    scores, labels = np.concatenate([np.arange(20.0), np.arange(100.0, 120)]), np.repeat([0, 1], 20)
    slope, intercept = platt(scores, labels)
    assert 0 < slope < 10
    probability = 1 / (1 + np.exp(-(slope * scores + intercept)))
    assert ((probability > 0.5) == (labels == 1)).all()
    assert 0.9 < probability[-20:].mean() < 0.99


def test_inverted_scores_get_a_slope_below_zero() -> None:
    scores, labels = drawn(150, 6)
    slope, intercept = platt(scores, labels)
    mirrored = platt(-scores, labels)
    assert slope > 0
    assert mirrored == pytest.approx((-slope, intercept), abs=1e-4)


def test_constant_scores_get_the_share_of_abnormal_images() -> None:
    labels = np.repeat([0, 1], [75, 25])
    slope, intercept = platt(np.full(100, 3.0), labels)
    assert 1 / (1 + np.exp(-(slope * 3 + intercept))) == pytest.approx(0.25, abs=0.02)


@QUIET
@given(few_scores(), st.sampled_from([0.2, 0.5, 0.9, 1.0]))
def test_at_least_is_at_least_and_no_more_than_needed(data: tuple[Floats, Labels], share: float) -> None:
    scores, labels = data
    called = scores >= choose_threshold(SensitivityPolicy(policy="sensitivity", at_least=share), scores, labels)
    assert called[labels == 1].mean() >= share
    if (higher := np.unique(scores[called])[1:]).size:
        assert (scores >= higher[0])[labels == 1].mean() < share
    normal = scores < choose_threshold(SpecificityPolicy(policy="specificity", at_least=share), scores, labels)
    assert normal[labels == 0].mean() >= share
    if (lower := np.unique(scores[normal])).size:
        assert (scores < lower[-1])[labels == 0].mean() < share


def operating(calibration: str = "platt", deferral: float = 0.95) -> OperatingParams:
    band = DeferralParams(sensitivity=deferral, specificity=deferral)
    return OperatingParams(threshold=YOUDEN, calibration=calibration, deferral=band)  # type: ignore[arg-type]


def test_an_operating_point_holds_all_that_reading_a_score_needs() -> None:
    scores, labels = drawn(90, 8)
    point = choose_operating_point(operating(), scores, labels, None)
    assert point.policy == "youden"
    assert point.threshold == choose_threshold(YOUDEN, scores, labels)
    assert point.healthy_scores == tuple(sorted(scores[labels == 0]))
    assert (point.calibration, point.curve) == ("platt", curves.platt(scores, labels))
    assert all(type(score) is float for score in point.healthy_scores)
    assert point == choose_operating_point(operating(), scores, labels, None)


def test_the_refer_band_leaves_few_errors_outside() -> None:
    scores, labels = drawn(2000, 3)
    point = choose_operating_point(operating(deferral=0.95), scores, labels, None)
    assert (scores[labels == 1] < point.defer_from).mean() <= 0.05
    assert (scores[labels == 0] >= point.defer_to).mean() <= 0.05
    assert point.defer_from <= point.threshold <= point.defer_to


def test_the_refer_band_reaches_to_a_threshold_outside_it() -> None:
    scores, labels = drawn(2000, 3)
    strict = MeanSdPolicy(policy="mean_sd", sd=4.0)
    point = choose_operating_point(
        operating(deferral=0.9).model_copy(update={"threshold": strict}), scores, labels, None
    )
    assert point.defer_from < point.threshold == point.defer_to


def test_separable_classes_need_no_referral() -> None:
    scores, labels = np.arange(40.0), np.repeat([0, 1], 20)
    point = choose_operating_point(operating(deferral=0.9), scores, labels, None)
    assert point.defer_from == point.defer_to == point.threshold


def test_a_temperature_makes_the_labels_most_likely() -> None:
    scores, labels = drawn(400, 2)
    curve = curves.temperature(scores, labels, 0.5)

    def loss(slope: float) -> float:
        return float(np.logaddexp(0, -np.where(labels == 1, 1, -1) * slope * (scores - 0.5)).mean())

    assert curve.intercept == pytest.approx(-0.5 * curve.slope)
    assert loss(curve.slope) <= min(loss(curve.slope * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_overconfidence_is_tempered() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    assert curves.temperature(5 * logits, labels, 0.0).slope == pytest.approx(1 / 5, rel=0.1)


def test_isotonic_rises_and_has_the_mean_of_the_labels() -> None:
    scores, labels = drawn(300, 4, ties=True)
    curve = curves.isotonic(scores, labels)
    assert (np.diff(curve.scores) > 0).all()
    assert (np.diff(curve.probabilities) >= 0).all()
    fitted = np.interp(scores, curve.scores, curve.probabilities)
    assert fitted.mean() == pytest.approx(labels.mean(), abs=1e-6)  # pooled blocks keep their means


@pytest.mark.parametrize(
    ("asked", "half", "name", "kind"),
    [
        ("platt", 0.0, "platt", LogisticCurve),
        ("isotonic", None, "isotonic", SteppedCurve),
        ("temperature", 0.0, "temperature", LogisticCurve),
        ("temperature", None, "platt", LogisticCurve),  # there is no probability to temper, and the name says so
    ],
)
def test_calibrations_by_name(asked: str, half: float | None, name: str, kind: type) -> None:
    scores, labels = drawn(100, 5)
    point = choose_operating_point(operating(asked), scores, labels, half)
    assert point.calibration == name
    assert type(point.curve) is kind


@pytest.mark.parametrize(("label", "missing"), [(1, "normal"), (0, "abnormal")])
@pytest.mark.parametrize("number", [1, 5])
def test_a_class_without_images_gives_no_operating_point(label: int, missing: str, number: int) -> None:
    scores, labels = np.arange(number, dtype=np.float64), np.full(number, label)
    for policy in (ACCURACY, YOUDEN, F1, COST, MeanSdPolicy(policy="mean_sd", sd=2.0)):
        params = OperatingParams(
            threshold=policy, deferral=DeferralParams(sensitivity=0.9, specificity=0.9), calibration="platt"
        )
        with pytest.raises(MedscreenError, match=f"val: no {missing} image"):
            choose_operating_point(params, scores, labels, None)
    with pytest.raises(MedscreenError, match="val: no normal image"):
        choose_threshold(YOUDEN, np.empty(0), np.empty(0, np.int64))
