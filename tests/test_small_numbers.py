"""Under twenty patients of a class: values without intervals in files, words in tables, a refusal of the gate."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import outcomes, unstated
from medscreen.cli import commands
from medscreen.config.operating import EvaluationParams, MeanSdPolicy, YoudenPolicy
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import METRICS, evaluate
from medscreen.evaluation.multiclass import ClassOutcomes, macro_auroc, per_class
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.paired_comparison import paired_bootstrap
from medscreen.evaluation.sample_size import FEWEST, TOO_FEW, short_classes
from medscreen.pipeline.publish import publish
from medscreen.registry.gate import decide
from medscreen.registry.versions import versions_of
from medscreen.reporting.evaluation_report.evaluation_figures import save_pictures
from medscreen.reporting.evaluation_report.plot_tables import save_plots, save_threshold_comparison
from medscreen.reporting.evaluation_report.tables import Judged, analysis, metrics
from medscreen.reporting.model_card.card import model_card
from medscreen.reporting.model_card.facts import CardFacts
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from test_promotion import BOOTSTRAP as GATE
from test_promotion import POLICY, candidate, champion
from workspaces import MODEL, new_workspace, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

BOOTSTRAP = Bootstrap(60, 0.95, 3)
OF_NORMAL = {"specificity", "false_positive_rate"}
OF_ABNORMAL = {"sensitivity", "false_negative_rate"}
PARAMS = EvaluationParams(
    resamples=100, confidence=0.95, prevalence=0.05,
    threshold_comparison=[YoudenPolicy(policy="youden"), MeanSdPolicy(policy="mean_sd", sd=1.0)],
)  # fmt: skip


def drawn(normal: int, abnormal: int, images: int = 1, seed: int = 0) -> Outcomes:
    """So many patients of each class, with so many images each; some are called wrong, some are deferred."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0] * normal + [1] * abnormal, images)
    scores = rng.normal(labels, 0.8)
    result = outcomes(
        labels, scores, 0.5, np.repeat(np.arange(normal + abnormal), images), 0.5, 1 / (1 + np.exp(-scores))
    )
    return replace(result, deferred=np.abs(scores - 0.5) < 0.4)


def has_interval(estimate: Any) -> bool:
    return estimate["low"] is not None and estimate["high"] is not None


@given(
    normal=st.integers(1, 45), abnormal=st.integers(1, 45), images=st.integers(1, 3), seed=st.integers(0, 5)
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_metric_has_an_interval_where_twenty_patients_of_its_classes_support_it(
    normal: int, abnormal: int, images: int, seed: int
) -> None:
    found = evaluate(drawn(normal, abnormal, images, seed), BOOTSTRAP)
    assert set(found) == set(METRICS)
    for metric, estimate in found.items():
        enough = normal >= 20 if metric in OF_NORMAL else abnormal >= 20 if metric in OF_ABNORMAL else None
        enough = min(normal, abnormal) >= 20 if enough is None else enough
        if estimate["value"] is not None and metric != "ece":
            assert has_interval(estimate) == enough, metric


def test_patients_count_and_not_their_images() -> None:
    many_images = drawn(30, 19, images=10)
    assert short_classes(many_images) == {"abnormal": 19}
    # of unknown patients each image is one
    assert short_classes(replace(many_images, patients=np.arange(len(many_images.labels)))) == {}


def test_a_patient_with_images_of_both_classes_counts_in_both() -> None:
    both = outcomes([0, 1] * 20, np.arange(40), patients=np.repeat(np.arange(20), 2))
    assert short_classes(both) == {}
    assert short_classes(both.take(np.arange(38))) == {"normal": 19, "abnormal": 19}


@pytest.mark.parametrize("metric", ["auroc", "sensitivity", "specificity"])
def test_a_difference_follows_the_same_rule(metric: str) -> None:
    for normal, abnormal in ((19, 40), (40, 19), (20, 20)):
        a, b = drawn(normal, abnormal), drawn(normal, abnormal, seed=1)
        b = replace(b, labels=a.labels, patients=a.patients)
        gap = paired_bootstrap(a, b, metric, BOOTSTRAP)
        assert gap["value"] is not None
        assert has_interval(gap) == has_interval(evaluate(a, BOOTSTRAP, [metric])[metric])


def test_of_several_classes_each_row_follows_the_rule_and_the_mean_the_rarest() -> None:
    rng = np.random.default_rng(0)
    for last in (19, 20):
        labels = np.repeat([0, 1, 2], [40, 30, last])
        probabilities = rng.dirichlet([1, 1, 1], len(labels))
        sample = ClassOutcomes(("normal", "mass", "nodule"), labels, probabilities, np.arange(len(labels)))
        rows = per_class(sample, BOOTSTRAP)
        assert [has_interval(row["auroc"]) for row in rows.values()] == [True, True, last == 20]
        assert macro_auroc(sample, BOOTSTRAP)["value"] is not None
        assert has_interval(macro_auroc(sample, BOOTSTRAP)) == (last == 20)


def judged(sample: Outcomes) -> Judged:
    """Every fourth image is a woman's; findings alternate."""
    finding = [("mass", "nodule")[i % 2] if label else "none" for i, label in enumerate(sample.labels)]
    sex = [("F", "M", "M", "M")[i % 4] for i in range(len(finding))]
    return Judged(sample, {"finding": finding, "sex": sex}, np.linspace(0.01, 1, len(finding)))


def reported(normal: int, abnormal: int) -> tuple[dict[str, Judged], dict[str, Any], dict[str, Any]]:
    few = judged(drawn(normal, abnormal))
    splits = {"train": judged(drawn(60, 60)), "val": few, "test": few}
    return splits, metrics(splits, PARAMS, 1), analysis(splits, [], {}, PARAMS, 1)


def estimates_in(block: Any) -> list[dict[str, Any]]:
    if isinstance(block, dict):
        if set(block) == {"value", "low", "high"}:
            return [block]
        return [estimate for entry in block.values() for estimate in estimates_in(entry)]
    return [estimate for entry in block for estimate in estimates_in(entry)] if isinstance(block, list) else []


@pytest.mark.parametrize(("normal", "abnormal"), [(19, 19), (3, 2), (1, 1)])
def test_nothing_that_is_reported_of_a_small_split_has_an_interval(normal: int, abnormal: int, tmp_path: Path) -> None:
    splits, report, tables = reported(normal, abnormal)
    found = estimates_in(tables) + estimates_in({split: report[split] for split in ("val", "test")})
    assert len(found) > 60
    assert not any(has_interval(estimate) for estimate in found)
    json.dumps([report, tables], allow_nan=False)
    # and what is drawn of it is drawn
    shown = {split: splits[split].outcomes for split in ("val", "test")}
    save_pictures(shown, splits["test"].p_values, tables, 0.5, "few", tmp_path)
    save_plots({"cnn": shown["test"]}, tmp_path)
    save_threshold_comparison(tables["threshold_comparison"], tmp_path / "threshold_comparison.csv")
    assert len(list(tmp_path.glob("*.png"))) == 7


def test_a_small_subgroup_of_a_large_split_has_none_either() -> None:
    _, report, tables = reported(60, 60)
    assert has_interval(report["test"]["auroc"])
    assert has_interval(tables["subgroups"]["sex"]["M"]["metrics"]["auroc"])
    assert not has_interval(tables["subgroups"]["sex"]["F"]["metrics"]["auroc"])


def card_of(normal: int, abnormal: int) -> str:
    _, report, tables = reported(normal, abnormal)
    facts = CardFacts("m", 1, "d", "s", "2026-07-03", report, tables, {}, {}, {}, {}, {}, "", is_simulated=False)
    return model_card(facts)


def test_the_card_has_words_in_place_of_figures_of_a_small_split() -> None:
    card = card_of(40, 19)
    rows = {cells[1].strip(): cells[2:4] for line in card.splitlines() if len(cells := line.split("|")) == 5}
    for metric in ("AUROC", "sensitivity", "ECE", "ECE expected by chance"):
        assert [cell.strip() for cell in rows[metric]] == [TOO_FEW, TOO_FEW]
    assert TOO_FEW not in rows["specificity"][0]  # it rests on the forty normal patients
    assert f"fewer than {FEWEST} patients of a class" in card
    assert f"AUROC on its test split: {TOO_FEW}." in card


def test_the_card_of_a_large_split_has_figures() -> None:
    assert TOO_FEW not in card_of(200, 200)


@pytest.mark.parametrize(
    ("normal", "abnormal", "sentence"),
    [
        (40, 19, "val has 19 patients of class abnormal; at least 20 are needed"),
        (19, 40, "val has 19 patients of class normal; at least 20 are needed"),
        (5, 6, "val has 5 patients of class normal and 6 patients of class abnormal; at least 20 are needed"),
        (40, 1, "val has 1 patient of class abnormal; at least 20 are needed"),
        (40, 0, "val has 0 patients of class abnormal; at least 20 are needed"),
    ],
)
def test_the_gate_refuses_for_want_of_patients_and_for_nothing_else(normal: int, abnormal: int, sentence: str) -> None:
    val = drawn(normal, abnormal)
    baseline = replace(val, scores=-val.scores)
    one = candidate(val, baselines={"gradient": baseline})
    for held in (None, champion(baseline), champion(val, run_key="new-training")):
        decision = decide(one, held, POLICY, GATE)
        assert (decision.verdict, decision.reason) == ("refused", sentence)


def test_twenty_patients_of_each_class_are_judged() -> None:
    labels = np.arange(40) % 2
    val = outcomes(labels, labels * 3.0 + np.random.default_rng(1).normal(0, 0.5, 40), 1.5, probabilities=labels)
    blind = replace(val, scores=np.random.default_rng(0).normal(size=40))
    assert decide(candidate(val, baselines={"gradient": blind}), None, POLICY, GATE).verdict == "promote"


def test_what_patients_decided_is_told_beside_the_want_of_patients() -> None:
    one = candidate(drawn(5, 30), baselines={}, rolled_back="version 5 was rolled back: too many alarms")
    reason = decide(one, None, POLICY, GATE).reason
    assert reason.startswith("val has 5 patients of class normal")
    assert reason.endswith("too many alarms")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A published workspace with fifteen patients of each class in val and in test."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    layout = new_workspace(tmp_path / "small", patients=150)
    monkeypatch.chdir(layout.home)
    publish(layout, settings_of(layout.workspace))
    return layout


def medscreen(*arguments: str) -> str:
    done = CliRunner().invoke(commands, arguments)
    return done.output + (str(done.exception) if done.exception else "")


@pytest.mark.slow
def test_a_small_data_set_from_end_to_end(small: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    with small.leaderboard.open(newline="") as file:
        leaderboard = {row["detector"]: row for row in csv.DictReader(file)}
    assert leaderboard["whole"]["verdict"] == "refused"
    assert float(leaderboard["whole"]["test/auroc"]) > 0.5
    assert leaderboard["whole"]["test/auroc_low"] == leaderboard["whole"]["val/auroc_high"] == ""
    with small.comparison.open(newline="") as file:
        pair = next(csv.DictReader(file))
    assert pair["difference"]
    assert pair["low"] == pair["high"] == pair["delong_p_value"] == ""
    with small.balanced.open(newline="") as file:
        assert next(csv.DictReader(file))["auroc_low"] == ""
    report = json.loads(small.promotion.read_text())
    assert report["promoted"] is None
    assert not unstated(report["reason"], "patients of class abnormal", "at least 20")
    client = open_store(small)
    assert {version.stage for version in versions_of(client, MODEL)} == {"None"}
    logged = client.get_run(versions_of(client, MODEL)[0].run_id).data.metrics
    assert "test/auroc" in logged
    assert not {"test/auroc_low", "test/auroc_high"} & set(logged)
    publish(small, settings_of(small.workspace))
    assert TOO_FEW in capsys.readouterr().out  # the printed leaderboard table
    assert TOO_FEW in medscreen("models")
    assert TOO_FEW in medscreen("compare", "2", "3")
    assert TOO_FEW in medscreen("threshold", "3", "--policy", "youden")
    message = medscreen("promote", "3")
    assert "is refused: val has 15 patients of class normal and 15 patients of class abnormal" in message
