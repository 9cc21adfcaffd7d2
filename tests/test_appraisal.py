import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from factories import REPOSITORY, drawn_outcomes, one_sentence, outcomes
from medscreen.config.operating import EvaluationParams, SensitivityPolicy, YoudenPolicy
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import METRICS, evaluate
from medscreen.evaluation.outcomes import Floats, balanced_view
from medscreen.operating.threshold_comparison import compare_policies
from medscreen.reporting.evaluation_report.tables import Judged, analysis, metrics
from medscreen.workspace.layout import Layout

PARAMS = EvaluationParams(
    resamples=100,
    confidence=0.9,
    prevalence=0.05,
    threshold_comparison=[YoudenPolicy(policy="youden"), SensitivityPolicy(policy="sensitivity", at_least=0.9)],
)
SEED = 7
BOOTSTRAP = Bootstrap(100, 0.9, SEED)
UNDEFINED = {"value": None, "low": None, "high": None}
P_VALUES = np.linspace(0.01, 1, 200)
NAMES = ["normal", "mass", "nodule"]


def judged(number: int, seed: int, **attributes: list[str]) -> Judged:
    """A split of a detector with a deferral band; findings are mass and nodule in turn."""
    sample = drawn_outcomes(number, seed)
    deferred = np.abs(sample.scores - 0.5) < 0.3
    sample = type(sample)(**{**vars(sample), "deferred": deferred})
    finding = [("mass", "nodule")[i % 2] if label else "none" for i, label in enumerate(sample.labels)]
    return Judged(sample, {"finding": finding, **attributes}, P_VALUES[:number])


def by_hand(labels: list[int], called: list[int], deferred: list[int]) -> Judged:
    sample = outcomes(labels, np.array(called) + np.arange(len(called)) / 100, 0.9)
    assert sample.abnormal.tolist() == [bool(call) for call in called]
    sample = type(sample)(**{**vars(sample), "deferred": np.array(deferred, bool)})
    return Judged(sample, {"finding": ["none"] * len(labels)}, P_VALUES[: len(labels)])


SPLITS = {"train": judged(90, 1), "val": judged(120, 2), "test": judged(100, 3)}


def with_test(test: Judged) -> dict[str, Judged]:
    return {**SPLITS, "test": test}


def analysed(splits: dict[str, Judged], by_seed: Any = None, names: list[str] = NAMES) -> dict[str, Any]:
    return analysis(splits, names, by_seed or {}, PARAMS, SEED)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return metrics(SPLITS, PARAMS, SEED)


@pytest.fixture(scope="module")
def tables() -> dict[str, Any]:
    return analysed(SPLITS)


def test_metrics_have_every_split_and_block(report: dict[str, Any]) -> None:
    assert list(report) == ["train", "val", "test"]
    assert set(report["train"]) == {"accuracy", "balanced_view"}
    assert set(report["train"]["balanced_view"]) == {"accuracy"}
    for split in ("val", "test"):
        assert set(report[split]) == {*METRICS, "balanced_view", "at_prevalence"}
        assert set(report[split]["balanced_view"]) == set(METRICS)
    json.dumps(report, allow_nan=False)


def test_metrics_are_those_of_evaluation(report: dict[str, Any]) -> None:
    for split, of_split in SPLITS.items():
        wanted = ["accuracy"] if split == "train" else list(METRICS)
        expected = evaluate(of_split.outcomes, BOOTSTRAP, wanted)
        assert {name: report[split][name] for name in wanted} == expected
        view = of_split.outcomes.take(balanced_view(of_split.outcomes.labels, SEED))
        assert view.labels.mean() == 0.5
        assert report[split]["balanced_view"] == evaluate(view, BOOTSTRAP, wanted)


def test_what_the_refer_band_leaves_by_hand() -> None:
    # of every eight, kept: 5, one of them wrong; deferred: 3, two of them wrong
    test = by_hand([0, 0, 0, 0, 1, 1, 1, 1] * 5, [0, 0, 1, 1, 1, 1, 0, 1] * 5, [0, 0, 0, 1, 0, 0, 1, 1] * 5)
    found = metrics(with_test(test), PARAMS, SEED)["test"]
    assert found["coverage"]["value"] == 0.625
    assert found["error_kept"]["value"] == pytest.approx(1 / 5)
    assert found["error_deferred"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert all(found[name]["low"] < found[name]["high"] for name in ("coverage", "error_kept", "error_deferred"))


def test_where_nothing_is_referred_there_is_no_error_among_the_referred() -> None:
    test = by_hand([0, 0, 1, 1] * 10, [0, 1, 1, 1] * 10, [0, 0, 0, 0] * 10)
    found = metrics(with_test(test), PARAMS, SEED)["test"]
    assert (found["coverage"]["value"], found["coverage"]["high"]) == (1, 1)
    assert found["error_kept"]["value"] == 0.25
    assert found["error_deferred"] == UNDEFINED


def test_predictive_values_at_the_stated_prevalence_by_hand() -> None:
    # sensitivity 3/4, specificity 4/5
    test = by_hand([0] * 5 + [1] * 4, [0, 0, 0, 0, 1, 1, 1, 1, 0], [0] * 9)
    found = metrics(with_test(test), PARAMS, SEED)["test"]["at_prevalence"]
    assert list(found) == ["ppv", "npv"]
    assert found["ppv"]["value"] == pytest.approx(0.0375 / (0.0375 + 0.19), abs=1e-6)
    assert found["npv"]["value"] == pytest.approx(0.76 / (0.76 + 0.0125), abs=1e-6)
    assert found["ppv"]["value"] < metrics(with_test(test), PARAMS, SEED)["test"]["ppv"]["value"] == 0.75


def test_an_analysis_has_every_block_and_is_json(tables: dict[str, Any]) -> None:
    assert set(tables) == {
        "prevalence", "scores", "threshold_comparison", "reliability", "decision_curve", "subgroups", "findings",
        "seeds",
        "ece_by_chance", "false_positive_rate_at_p",
    }  # fmt: skip
    assert tables["prevalence"] == 0.05
    assert list(tables["scores"]) == ["train", "val", "test"]
    assert list(tables["reliability"]) == list(tables["seeds"]) == ["val", "test"]
    assert json.loads(json.dumps(tables, allow_nan=False)) == tables


def test_the_same_seed_gives_the_same_analysis(tables: dict[str, Any]) -> None:
    assert analysed(SPLITS) == tables
    assert analysis(SPLITS, NAMES, {}, PARAMS, SEED + 1) != tables


def test_the_bench_is_of_val_and_test(tables: dict[str, Any]) -> None:
    two = {split: SPLITS[split].outcomes for split in ("val", "test")}
    assert tables["threshold_comparison"] == compare_policies(PARAMS.threshold_comparison, two, BOOTSTRAP)
    assert [list(row["rates"]) for row in tables["threshold_comparison"]] == [["val", "test"]] * 2


def test_tables_count_every_image_of_their_split(tables: dict[str, Any]) -> None:
    for split, number in (("val", 120), ("test", 100)):
        assert sum(row["images"] for row in tables["reliability"][split]) == number
        assert sum(part["images"] for part in tables["scores"][split].values()) == number


def test_the_decision_curve_is_of_test(tables: dict[str, Any]) -> None:
    thresholds = [row["threshold"] for row in tables["decision_curve"]]
    assert (thresholds[0], thresholds[-1], len(thresholds)) == (0.02, 0.98, 49)
    assert np.diff(thresholds) == pytest.approx(0.02)
    sample, row = SPLITS["test"].outcomes, tables["decision_curve"][9]
    acted, truth = sample.probabilities >= 0.2, sample.labels == 1
    assert row["threshold"] == 0.2
    assert row["model"]["value"] == pytest.approx((acted & truth).mean() - (acted & ~truth).mean() * 0.25, abs=1e-6)


def test_subgroups_are_by_trait_and_a_blank_is_unknown() -> None:
    sex, site = ["M", "F", "", "M"] * 25, ["north"] * 40 + ["south"] * 60
    test = judged(100, 3, sex=sex, site=site)
    found = analysed(with_test(test))["subgroups"]
    assert {name: {group: row["images"] for group, row in rows.items()} for name, rows in found.items()} == {
        "sex": {"F": 25, "M": 50, "unknown": 25},
        "site": {"north": 40, "south": 60},
    }
    south = test.outcomes.take(np.arange(40, 100))
    assert found["site"]["south"]["metrics"] == evaluate(south, BOOTSTRAP, ["auroc", "sensitivity", "specificity"])


def test_subgroups_of_age_are_bands() -> None:
    ages = ["39", "40", "59.5", "60", "79", "80", "", "n/a", "061Y", "nan"] * 10
    found = analysed(with_test(judged(100, 3, age=ages)))["subgroups"]["age"]
    counts = {band: row["images"] for band, row in found.items()}
    assert counts == {"0-39": 10, "40-59": 20, "60-79": 20, "80+": 10, "unknown": 40}


def test_a_subgroup_of_one_class_has_no_auroc_and_does_not_fail() -> None:
    labels = SPLITS["test"].outcomes.labels
    site = ["clinic" if label else "street" for label in labels]
    found = analysed(with_test(judged(100, 3, site=site)))["subgroups"]["site"]
    assert found["clinic"]["metrics"]["auroc"] == found["street"]["metrics"]["auroc"] == UNDEFINED
    assert found["street"]["metrics"]["sensitivity"] == found["clinic"]["metrics"]["specificity"] == UNDEFINED
    assert found["street"]["metrics"]["specificity"]["value"] is not None


def test_findings_are_rows_against_all_normal_images(tables: dict[str, Any]) -> None:
    sample, finding = SPLITS["test"].outcomes, np.array(SPLITS["test"].attributes["finding"])
    assert list(tables["findings"]) == ["mass", "nodule"]
    assert tables["subgroups"] == {}  # a finding is no subgroup
    for name, row in tables["findings"].items():
        mine = (finding == name) | (sample.labels == 0)
        expected = roc_auc_score(sample.labels[mine], sample.scores[mine])
        assert row["metrics"]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
        assert row["abnormal"] == (finding == name).sum()


def with_classes(finding: list[str], labels: list[int], probabilities: Any) -> Judged:
    sample = outcomes(labels, 1 - np.array(probabilities)[:, 0], 0.5, probabilities=1 - np.array(probabilities)[:, 0])
    return Judged(sample, {"finding": finding}, P_VALUES[: len(labels)], np.array(probabilities, np.float64))


NORMAL, MASS, NODULE = [0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]
EIGHT = [NORMAL, NORMAL, MASS, NORMAL, MASS, NODULE, NODULE, NORMAL]


def test_every_label_of_a_normal_image_is_one_class() -> None:
    finding = ["none", "", "other", "mass", "mass", "mass", "nodule", "nodule"]
    test = with_classes(finding, [0, 0, 0, 0, 1, 1, 1, 1], EIGHT)
    found = analysed(with_test(test))["classes"]
    assert set(found) == {"names", "macro_auroc", "rows", "confusion"}
    assert found["names"] == NAMES == list(found["rows"])
    assert found["confusion"] == [[3, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert [row["images"] for row in found["rows"].values()] == [4, 2, 2]
    assert [row["sensitivity"]["value"] for row in found["rows"].values()] == [0.75, 0.5, 0.5]
    areas = [row["auroc"]["value"] for row in found["rows"].values()]
    assert found["macro_auroc"]["value"] == pytest.approx(np.mean(areas), abs=1e-6)
    json.dumps(found, allow_nan=False)


def test_a_finding_that_the_detector_does_not_know_is_a_sentence() -> None:
    finding = ["none", "none", "none", "effusion", "mass", "fracture", "pneumonia", "nodule"]
    test = with_classes(finding, [0, 0, 0, 0, 1, 1, 1, 1], EIGHT)
    with pytest.raises(MedscreenError) as error:
        analysed(with_test(test))
    message = one_sentence(error)
    assert "'fracture'" in message
    assert "mass, nodule" in message
    assert "normal" not in message
    analysed(
        with_test(Judged(test.outcomes, test.attributes, test.p_values))
    )  # who tells none apart needs to know none


def shifted(scores: Floats, seed: int) -> Floats:
    return scores + np.random.default_rng(seed).normal(0, 1, len(scores))


def test_seeds_have_an_auroc_each_and_their_spread() -> None:
    by_seed = {
        seed: {split: shifted(SPLITS[split].outcomes.scores, seed + len(split)) for split in ("val", "test")}
        for seed in (11, 12)
    }
    found = analysed(SPLITS, by_seed)["seeds"]
    for split in ("val", "test"):
        sample = SPLITS[split].outcomes
        expected = {
            "7": roc_auc_score(sample.labels, sample.scores),
            "11": roc_auc_score(sample.labels, by_seed[11][split]),
            "12": roc_auc_score(sample.labels, by_seed[12][split]),
        }
        assert found[split]["auroc"] == pytest.approx(expected, abs=1e-6)
        assert list(found[split]["auroc"]) == ["7", "11", "12"]
        assert found[split]["runs"] == 3
        assert found[split]["mean"] == pytest.approx(statistics.mean(expected.values()), abs=1e-6)
        assert found[split]["sd"] == pytest.approx(statistics.stdev(expected.values()), abs=2e-6)
    assert found["val"] != found["test"]


def test_one_training_has_no_spread(tables: dict[str, Any]) -> None:
    found = tables["seeds"]["test"]
    assert (found["runs"], found["sd"]) == (1, None)
    assert found["mean"] == found["auroc"]["7"]


def test_false_positives_by_p_value_by_hand() -> None:
    test = SPLITS["test"]
    found = analysed(SPLITS)["false_positive_rate_at_p"]
    healthy = test.p_values[test.outcomes.labels == 0]
    assert list(found) == ["0.01", "0.05", "0.1"]
    for level, estimate in found.items():
        assert estimate["value"] == pytest.approx((healthy <= float(level)).mean(), abs=1e-6)


def test_ages_that_are_none_are_unknown() -> None:
    ages = ["inf", "-5", "nan", "", "forty", "41"]
    sample = outcomes([0, 1, 0, 1, 0, 1], np.arange(6) / 6, probabilities=np.arange(6) / 6)
    aged = Judged(sample, {"finding": ["x"] * 6, "age": ages}, P_VALUES[:6])
    assert {group: row["images"] for group, row in analysed(with_test(aged))["subgroups"]["age"].items()} == {
        "40-59": 1,
        "unknown": 5,
    }


def test_the_reports_on_file_have_the_form_that_evaluation_writes(evaluated: Path) -> None:
    """tests/data/reports has results of real detectors; where the form changes, copy those of a `make repro` there."""
    layout = Layout(evaluated, evaluated)
    on_file = REPOSITORY / "tests" / "data" / "reports" / "cnn"
    tables = json.loads((on_file / "analysis.json").read_text())
    assert tables.keys() == json.loads(layout.analysis("whole").read_text()).keys()
    written = json.loads((layout.report("whole") / "evaluation.json").read_text())
    for split, rates in json.loads((on_file / "evaluation.json").read_text()).items():
        assert rates.keys() - {"accuracy_at_half"} <= written[split].keys()  # of its own probability alone
