import pytest

from medscreen.params import PromotionParams
from medscreen.promotion import Candidate, Champion, Decision, Standing, decide

RULES = PromotionParams(metric="auroc", margin_over_baseline=0.0)


def candidate(name: str, value: float | None, is_baseline: bool = False) -> Candidate:
    return Candidate(name, f"digest-{name}", value, is_baseline)


def champion(name: str = "old", value: float | None = 0.8) -> Champion:
    return Champion(name, f"digest-{name}", 3, value)


GRADIENT = candidate("gradient", 0.7, is_baseline=True)


def promoted(decision: Decision) -> str | None:
    return decision.promote.detector if decision.promote else None


def verdicts(decision: Decision) -> dict[str, str]:
    return {standing.detector: standing.verdict for standing in decision.standings}


def standing(decision: Decision, name: str) -> Standing:
    return next(standing for standing in decision.standings if standing.detector == name)


def test_a_baseline_alone_is_never_promoted() -> None:
    decision = decide([candidate("gradient", 0.99, is_baseline=True)], None, RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"gradient": "baseline"}
    assert "no detector beats the baseline gradient" in decision.reason


@pytest.mark.parametrize("value", [0.2, 0.6999, 0.7])
def test_a_detector_that_does_not_beat_the_baseline_is_refused(value: float) -> None:
    decision = decide([GRADIENT, candidate("vae", value)], None, RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"gradient": "baseline", "vae": "refused"}
    assert standing(decision, "vae").reason == f"val/auroc {value:.4f} does not beat the baseline gradient (0.7000)"


def test_the_best_baseline_is_the_bar() -> None:
    entropy = candidate("entropy", 0.85, is_baseline=True)
    decision = decide([GRADIENT, entropy, candidate("vae", 0.8)], None, RULES)
    assert promoted(decision) is None
    assert "entropy" in standing(decision, "vae").reason


def test_the_margin_over_the_baseline_is_asked_for() -> None:
    rules = PromotionParams(metric="auroc", margin_over_baseline=0.1)
    roster = [GRADIENT, candidate("vae", 0.75)]
    assert promoted(decide(roster, None, RULES)) == "vae"
    assert promoted(decide(roster, None, rules)) is None


@pytest.mark.parametrize("reverse", [False, True])
def test_the_best_is_promoted_whatever_its_place(reverse: bool) -> None:
    roster = [candidate("vae", 0.75), GRADIENT, candidate("cnn", 0.95), candidate("ae", 0.6)]
    decision = decide(roster[::-1] if reverse else roster, None, RULES)
    assert promoted(decision) == "cnn"
    assert verdicts(decision) == {"vae": "refused", "gradient": "baseline", "cnn": "promoted", "ae": "refused"}
    assert standing(decision, "vae").reason == "cnn is better by 0.2000"
    assert "does not beat the baseline" in standing(decision, "ae").reason
    assert decision.reason == "cnn: val/auroc 0.9500 beats the baseline gradient by 0.2500"
    assert decision.metric == "val/auroc"


def test_a_better_detector_replaces_the_champion() -> None:
    decision = decide([GRADIENT, candidate("cnn", 0.95)], champion(value=0.9), RULES)
    assert promoted(decision) == "cnn"
    assert "and version 3 (old) by 0.0500" in decision.reason


@pytest.mark.parametrize("value", [0.9, 0.8999])
def test_a_tie_keeps_the_champion(value: float) -> None:
    decision = decide([GRADIENT, candidate("cnn", value)], champion(value=0.9), RULES)
    assert promoted(decision) is None
    assert verdicts(decision)["cnn"] == "refused"
    assert "not better than the 0.9000 of version 3 (old) in Production" in standing(decision, "cnn").reason


def test_a_champion_judged_on_other_images_is_replaced() -> None:
    decision = decide([GRADIENT, candidate("cnn", 0.75)], champion(value=None), RULES)
    assert promoted(decision) == "cnn"
    assert "version 3 was judged on other images" in decision.reason


def test_a_champion_judged_on_other_images_does_not_lower_the_bar() -> None:
    decision = decide([GRADIENT, candidate("cnn", 0.65)], champion(value=None), RULES)
    assert promoted(decision) is None


@pytest.mark.parametrize("value", [0.95, 0.9, None])
def test_what_is_in_production_is_not_promoted_again(value: float | None) -> None:
    decision = decide([GRADIENT, candidate("cnn", 0.95)], champion("cnn", value), RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"gradient": "baseline", "cnn": "champion"}
    assert decision.reason == "cnn is in Production already"


@pytest.mark.parametrize("champion_first", [True, False])
def test_a_tie_within_the_roster_keeps_the_champion(champion_first: bool) -> None:
    roster = [candidate("cnn", 0.95), candidate("resnet", 0.95)]
    decision = decide([GRADIENT, *(roster if champion_first else roster[::-1])], champion("cnn", 0.95), RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"gradient": "baseline", "cnn": "champion", "resnet": "refused"}
    assert "better by 0.0000" not in standing(decision, "cnn").reason


def test_an_undefined_metric_is_refused() -> None:
    decision = decide([GRADIENT, candidate("cnn", None), candidate("ae", 0.8)], None, RULES)
    assert promoted(decision) == "ae"
    assert standing(decision, "cnn").verdict == "refused"
    assert "undefined does not beat the baseline" in standing(decision, "cnn").reason
    assert promoted(decide([GRADIENT, candidate("cnn", None)], champion(value=None), RULES)) is None


def test_without_a_baseline_nothing_is_promoted() -> None:
    decision = decide([candidate("cnn", 0.99)], None, RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"cnn": "refused"}
    assert "no one-line baseline" in decision.reason
    assert standing(decision, "cnn").reason == decision.reason


def test_a_baseline_whose_metric_is_undefined_promotes_nothing() -> None:
    unknown = candidate("gradient", None, is_baseline=True)
    decision = decide([unknown, candidate("cnn", 0.99)], None, RULES)
    assert promoted(decision) is None
    assert verdicts(decision) == {"gradient": "baseline", "cnn": "refused"}
    assert "add one" not in decision.reason


def test_an_empty_roster_promotes_nothing() -> None:
    assert decide([], champion(), RULES).promote is None


def test_every_candidate_gets_one_standing_with_a_reason_in_order() -> None:
    roster = [candidate("a", 0.9), GRADIENT, candidate("b", None), candidate("c", 0.3), candidate("d", 0.85)]
    for holder in (None, champion(value=0.99), champion("a", 0.9), champion("d", 0.85), champion(value=None)):
        decision = decide(roster, holder, RULES)
        assert [standing.detector for standing in decision.standings] == ["a", "gradient", "b", "c", "d"]
        assert all(standing.reason for standing in decision.standings)
        assert sum(verdict == "promoted" for verdict in verdicts(decision).values()) == bool(decision.promote)
