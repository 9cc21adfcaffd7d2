from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from medscreen.config.promotion import PromotionParams, SensitivityFloor
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.registry.gate import Candidate, Champion, Decision, LostChampion, decide

POLICY = PromotionParams(
    metric="auroc",
    confidence=0.95,
    margin_over_baseline=0.0,
    margin_over_champion=0.0,
    sensitivity=SensitivityFloor(at_specificity=0.8, at_least=0.5),
    min_balanced_accuracy=0.6,
    max_calibration_error=0.1,
    max_leaked_images=0,
)
BOOTSTRAP = Bootstrap(400, 0.95, 0)
LABELS = np.arange(300) % 2
RNG = np.random.default_rng(0)
COMMON, NOISE, OTHER = RNG.normal(size=(3, 300))


def scored_outcomes(separation: float, noise: Any = NOISE, labels: Any = LABELS) -> Outcomes:
    """Binormal scores with the probability that is right for them, abnormal from one half on."""
    labels = np.asarray(labels)
    scores = separation * labels + (COMMON + noise)[: len(labels)] / np.sqrt(2)
    probability = 1 / (1 + np.exp(-separation * (scores - separation / 2)))
    return outcomes_of(
        labels=labels,
        scores=scores,
        patients=np.arange(len(labels)),
        abnormal=probability >= 0.5,
        probabilities=probability,
    )


BASELINE = scored_outcomes(0.3, OTHER)


def candidate(val: Outcomes, **changed: Any) -> Candidate:
    settings: dict[str, Any] = {
        "detector": "cnn",
        "digest": "new",
        "run_key": "new-training",
        "val": val,
        "unseen": np.ones(len(val.labels), np.bool_),
        "is_baseline": False,
        "baselines": {"gradient": BASELINE},
    }
    return Candidate(**settings | changed)


def champion(val: Outcomes, **changed: Any) -> Champion:
    settings: dict[str, Any] = {
        "detector": "old",
        "digest": "old",
        "run_key": "old-training",
        "val": val,
        "unseen": np.ones(len(val.labels), np.bool_),
        "version": 3,
    }
    return Champion(**settings | changed)


def decided(one: Candidate, held: Champion | LostChampion | None = None, **policy: Any) -> Decision:
    return decide(one, held, POLICY.model_copy(update=policy), BOOTSTRAP)


def failed(decision: Decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_a_good_detector_is_promoted_where_there_is_no_champion() -> None:
    decision = decided(candidate(scored_outcomes(2.0)))
    assert decision.verdict == "promote"
    assert failed(decision) == []
    assert decision.metric == "val/auroc"
    assert decision.value == pytest.approx(norm.cdf(2.0 / np.sqrt(2)), abs=0.03)
    assert "beats the baseline gradient" in decision.reason


def test_a_baseline_is_never_promoted() -> None:
    decision = decided(candidate(scored_outcomes(3.0), is_baseline=True))
    assert (decision.verdict, decision.reason) == ("baseline", "a baseline is never promoted")


def test_shuffled_labels_are_refused_for_the_baseline() -> None:
    shuffled = np.random.default_rng(5).permutation(LABELS)
    luckless = replace(scored_outcomes(2.0, labels=shuffled), labels=LABELS)
    decision = decided(candidate(luckless))
    assert decision.verdict == "refused"
    assert "baseline" in failed(decision)
    assert "does not beat the baseline gradient" in decision.reason


@pytest.mark.slow
def test_of_shuffled_labels_the_bound_promotes_at_most_the_stated_share() -> None:
    """A detector and a baseline that both know nothing: half would pass if the larger value were enough."""
    rng = np.random.default_rng(11)
    passed = 0
    for _ in range(200):
        blind, baseline = (replace(BASELINE, scores=rng.normal(size=300)) for _ in range(2))
        decision = decided(candidate(blind, baselines={"gradient": baseline}))
        passed += "baseline" not in failed(decision)
    assert passed <= 20  # 5 % of 200, and three standard errors


def test_a_score_that_points_the_wrong_way_is_refused_and_said() -> None:
    inverted = replace(scored_outcomes(2.0), scores=-scored_outcomes(2.0).scores)
    decision = decided(candidate(inverted))
    assert decision.verdict == "refused"
    assert {"direction", "baseline", "sensitivity"} <= set(failed(decision))
    assert "points the wrong way" in decision.reason


def test_the_best_baseline_is_the_bar() -> None:
    decision = decided(
        candidate(scored_outcomes(1.0), baselines={"gradient": BASELINE, "entropy": scored_outcomes(1.5, OTHER)})
    )
    assert decision.verdict == "refused"
    assert "baseline entropy" in decision.reason


def test_without_a_baseline_nothing_is_promoted() -> None:
    decision = decided(candidate(scored_outcomes(3.0), baselines={}))
    assert failed(decision) == ["baseline"]
    assert "no one-line baseline to beat" in decision.reason


def test_margins_are_asked_for() -> None:
    one, held = candidate(scored_outcomes(2.0)), champion(scored_outcomes(1.0, OTHER))
    assert decided(one, held).verdict == "promote"
    assert failed(decided(one, held, margin_over_champion=0.3)) == ["champion"]
    assert failed(decided(one, held, margin_over_baseline=0.6)) == ["baseline"]


def test_the_sensitivity_floor_is_asked_for() -> None:
    floor = SensitivityFloor(at_specificity=0.95, at_least=0.9)
    decision = decided(candidate(scored_outcomes(2.0)), sensitivity=floor)
    assert failed(decision) == ["sensitivity"]
    assert "at specificity 0.95 (at least 0.9)" in decision.reason


def test_a_calibration_error_beyond_chance_is_refused() -> None:
    sure = scored_outcomes(1.5)
    sure = replace(sure, probabilities=(sure.scores > 0).astype(np.float64))
    assert failed(decided(candidate(sure))) == ["calibration"]
    assert decided(candidate(sure), max_calibration_error=0.5).verdict == "promote"
    # of forty images chance alone makes an error above a floor of nothing
    few = candidate(scored_outcomes(2.5).take(np.arange(40)), baselines={"gradient": BASELINE.take(np.arange(40))})
    assert "calibration" not in failed(decided(few, max_calibration_error=0.0))
    assert failed(decided(candidate(replace(sure, probabilities=None)))) == ["calibration"]


def test_leaks_are_refused() -> None:
    decision = decided(candidate(scored_outcomes(2.0), leaked_images=2))
    assert failed(decision) == ["leaks"]
    assert "share 2 images" in decision.reason
    assert decided(candidate(scored_outcomes(2.0), leaked_images=2), max_leaked_images=2).verdict == "promote"


def test_what_was_rolled_back_is_refused_with_the_reason_of_then() -> None:
    decision = decided(candidate(scored_outcomes(2.0), rolled_back="version 5 was rolled back: too many alarms"))
    assert failed(decision) == ["rollback"]
    assert "too many alarms" in decision.reason


def test_every_failed_condition_is_named() -> None:
    inverted = replace(scored_outcomes(2.0), scores=-scored_outcomes(2.0).scores)
    decision = decided(candidate(inverted, leaked_images=1), champion(scored_outcomes(1.0)))
    assert failed(decision) == ["direction", "baseline", "sensitivity", "leaks", "champion"]
    assert decision.reason.count("; ") >= 4


def test_a_better_detector_replaces_the_champion() -> None:
    decision = decided(candidate(scored_outcomes(2.0)), champion(scored_outcomes(1.0, OTHER)))
    assert decision.verdict == "promote"
    assert "better than version 3 (old) in Production" in decision.reason
    assert decision.checks[-1].bound is not None
    assert decision.checks[-1].bound > 0


@pytest.mark.parametrize("separation", [1.5, 1.4])
def test_a_tie_or_less_keeps_the_champion(separation: float) -> None:
    decision = decided(candidate(scored_outcomes(separation)), champion(scored_outcomes(1.5)))
    assert failed(decision) == ["champion"]
    assert "not better than version 3" in decision.reason


def test_what_is_in_production_is_not_promoted_again() -> None:
    decision = decided(candidate(scored_outcomes(0.1)), champion(scored_outcomes(0.1), digest="new"))
    assert decision.verdict == "champion"
    assert "already, as version 3" in decision.reason


def test_a_champion_that_cannot_be_scored_is_not_replaced_unseen() -> None:
    decision = decided(candidate(scored_outcomes(3.0)), LostChampion(3, "old", "old", "its files are lost"))
    assert failed(decision) == ["champion"]
    assert "its files are lost" in decision.reason


def test_the_champions_network_at_another_operating_point_takes_its_place() -> None:
    held = champion(scored_outcomes(2.0), run_key="new-training")
    assert decided(candidate(scored_outcomes(2.0)), held).verdict == "promote"


def test_a_threshold_that_tells_nothing_apart_is_refused_also_for_the_champions_network() -> None:
    never = scored_outcomes(2.0)
    never = replace(never, abnormal=np.zeros(300, np.bool_))
    decision = decided(candidate(never), champion(scored_outcomes(2.0), run_key="new-training"))
    assert failed(decision) == ["threshold"]
    assert "balanced accuracy 0.5000 at its own threshold (at least 0.6)" in decision.reason


def test_what_a_person_passed_over_is_refused() -> None:
    decision = decided(
        candidate(scored_outcomes(2.0), passed_over="ann put version 2 into Production"), champion(scored_outcomes(1.0))
    )
    assert failed(decision) == ["choice"]
    assert "ann put version 2" in decision.reason


def test_images_that_the_champion_was_trained_on_do_not_count() -> None:
    """A champion that has learned half of val by heart is judged on the other half."""
    learned = np.arange(300) < 150
    by_heart = scored_outcomes(0.8, OTHER)
    by_heart = replace(by_heart, scores=np.where(learned, 10.0 * LABELS, by_heart.scores))
    one = candidate(scored_outcomes(1.6))
    assert failed(decided(one, champion(by_heart))) == ["champion"]
    decision = decided(one, champion(by_heart, unseen=~learned))
    assert decision.verdict == "promote"
    assert "on 150 images" in decision.reason
    assert decided(replace(one, unseen=~learned), champion(by_heart)).verdict == "promote"


@pytest.mark.parametrize("unseen", [np.zeros(300, np.bool_), LABELS == 1])
def test_without_images_of_both_classes_that_neither_saw_nothing_is_compared(unseen: Any) -> None:
    decision = decided(candidate(scored_outcomes(2.0)), champion(scored_outcomes(1.0), unseen=unseen))
    assert decision.verdict == "refused"
    assert "patients of class" in decision.reason
    assert "neither the candidate nor the champion has seen; at least 20 are needed" in decision.reason


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auroc", "average_precision"])
@pytest.mark.parametrize("several_images_each", [False, True])
def test_candidates_no_better_than_the_champion_are_promoted_no_more_often_than_stated(
    metric: Any, several_images_each: bool
) -> None:
    """200 pairs of equally good detectors (the worst case of "no better"), whose scores correlate by one half."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(100), 3) if several_images_each else np.arange(300)
    labels = patients % 2
    wrong = 0
    for _ in range(200):
        common, ours, theirs = rng.normal(size=(3, len(np.unique(patients))))[:, patients] / np.sqrt(2)
        pair = [
            replace(scored_outcomes(1.5, labels=labels), scores=(scores := 1.5 * labels + common + own),
                    abnormal=scores > 0.75, patients=patients)
            for own in (ours, theirs)
        ]  # fmt: skip
        decision = decided(candidate(pair[0], baselines={"gradient": pair[1]}), champion(pair[1]), metric=metric)
        wrong += "champion" not in failed(decision)
    assert wrong <= 20  # 5 % of 200, and three standard errors


@pytest.mark.slow
def test_the_luckiest_of_ten_is_promoted_no_more_often_than_one() -> None:
    """Ten candidates as good as the champion, tried at once: unshared, the bound would let one in three through."""
    rng = np.random.default_rng(4)
    wrong = unshared = 0
    for _ in range(100):
        common = rng.normal(size=200)
        values = [1.5 * LABELS[:200] + (common + rng.normal(size=200)) / np.sqrt(2) for _ in range(11)]
        held, *others = (replace(scored_outcomes(1.5, labels=LABELS[:200]), scores=scores) for scores in values)
        best = max(
            others, key=lambda one: norm.cdf(one.scores[one.labels == 1].mean() - one.scores[one.labels == 0].mean())
        )
        tried = candidate(best, baselines={"gradient": held}, rivals=10)
        wrong += "champion" not in failed(decided(tried, champion(held)))
        unshared += "champion" not in failed(decided(replace(tried, rivals=1), champion(held)))
    assert wrong <= 11  # 5 % of 100, and three standard errors
    assert unshared > wrong
