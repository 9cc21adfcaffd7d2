import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn import metrics as sk

from medscreen.config.operating import EvaluationParams, MeanSdPolicy, YoudenPolicy
from medscreen.evaluation.outcomes import Outcomes, confusion, outcomes_of
from medscreen.reporting.evaluation_report import operating_figure as operating
from medscreen.reporting.evaluation_report.evaluation_figures import (
    draw_counts,
    draw_decision_curve,
    draw_errors,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_shift,
    save_pictures,
)
from medscreen.reporting.evaluation_report.operating_figure import save_operating
from medscreen.reporting.evaluation_report.plot_tables import save_plots, save_threshold_comparison
from medscreen.reporting.evaluation_report.tables import Judged, analysis

TABLES = ("confusion.csv", "histogram.csv", "precision_recall.csv", "roc.csv")
PICTURES = (
    "confusion.png", "decision_curve.png", "errors.png", "precision_recall.png", "reliability.png", "roc.png",
    "shift.png",
)  # fmt: skip
PARAMS = EvaluationParams(
    resamples=100,
    confidence=0.95,
    prevalence=0.05,
    threshold_comparison=[YoudenPolicy(policy="youden"), MeanSdPolicy(policy="mean_sd", sd=2.0)],
)
POINT = {"threshold": 0.5, "defer_from": 0.2, "defer_to": 0.9, "policy": "youden"}
NAMES = ["normal", "mass", "nodule"]


def drawn(number: int = 120, spread: float = 1.0, threshold: float = 0.5, seed: int = 1) -> Outcomes:
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    scores = rng.normal(labels, 1.0) * spread
    probabilities = 1 / (1 + np.exp(-(scores / (spread or 1.0)) + 0.5))
    deferred = np.abs(scores - threshold) < 0.3 * spread
    return outcomes_of(
        labels=labels,
        scores=scores,
        patients=np.arange(number),
        abnormal=scores >= threshold,
        probabilities=probabilities,
        deferred=deferred,
    )


def val_and_test(**options: Any) -> dict[str, Outcomes]:
    return {"val": drawn(100, seed=2, **options), "test": drawn(**options)}


def analysed(splits: dict[str, Outcomes], with_classes: bool = False) -> dict[str, Any]:
    judged = {}
    for split, outcomes in splits.items():
        finding = [("mass", "nodule")[i // 2 % 2] if label else "none" for i, label in enumerate(outcomes.labels)]
        ill = outcomes.probabilities
        classes = np.stack([1 - ill, 0.6 * ill, 0.4 * ill], axis=1) if with_classes else None
        judged[split] = Judged(outcomes, {"finding": finding}, outcomes.probabilities, classes)
    return analysis(judged, NAMES, {}, PARAMS, 7)


def p_values(splits: dict[str, Outcomes]) -> dict[str, Any]:
    healthy = {split: outcomes.scores[outcomes.labels == 0] for split, outcomes in splits.items()}
    return {
        split: (1 + (healthy["val"] >= scores[:, None]).sum(axis=1)) / (len(healthy["val"]) + 1)
        for split, scores in healthy.items()
    }


def save_all(splits: dict[str, Outcomes], point: dict[str, Any], folder: Path, with_classes: bool = False) -> None:
    folder.mkdir(exist_ok=True)
    save_plots({"cnn": splits["test"]}, folder)
    tables = analysed(splits, with_classes)
    save_pictures(splits, p_values(splits)["test"], tables, float(point["threshold"]), "cnn", folder)
    save_operating(splits, point, "cnn", folder / "operating.png")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def columns(path: Path, *names: str) -> np.ndarray:
    return np.array([[float(row[name]) for name in names] for row in rows(path)])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    save_all(val_and_test(), POINT, folder)
    return folder


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def line(axes: Axes, label: str) -> np.ndarray:
    """The points of the line with that label, (points, 2)."""
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return np.stack(found.get_data(), axis=1).astype(float)


def test_nothing_but_the_named_files_is_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([*TABLES, *PICTURES, "operating.png"])


def test_the_confusion_table_holds_each_image(saved: Path) -> None:
    pairs = [(row["actual"], row["predicted"]) for row in rows(saved / "confusion.csv")]
    counts = confusion(drawn())
    assert {
        "true_negative": pairs.count(("normal", "normal")),
        "false_positive": pairs.count(("normal", "abnormal")),
        "false_negative": pairs.count(("abnormal", "normal")),
        "true_positive": pairs.count(("abnormal", "abnormal")),
    } == counts
    assert len(pairs) == 120


def test_the_area_under_the_saved_roc_is_the_auroc(saved: Path) -> None:
    curve = columns(saved / "roc.csv", "false_positive_rate", "sensitivity")
    sample = drawn()
    assert sk.auc(*curve.T) == pytest.approx(sk.roc_auc_score(sample.labels, sample.scores), abs=1e-5)
    assert curve[0].tolist() == [0, 0]
    assert curve[-1].tolist() == [1, 1]
    assert (np.diff(curve, axis=0) >= 0).all()


def test_the_saved_precision_recall_curve_gives_the_average_precision(saved: Path) -> None:
    recall, precision = columns(saved / "precision_recall.csv", "recall", "precision").T
    sample = drawn()
    expected = sk.average_precision_score(sample.labels, sample.scores)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(expected, abs=1e-5)


def test_the_histogram_counts_every_image_of_both_classes(saved: Path) -> None:
    table = rows(saved / "histogram.csv")
    for word, label in (("normal", 0), ("abnormal", 1)):
        mine = [row for row in table if row["class"] == word]
        scores = drawn().scores[drawn().labels == label]
        assert sum(int(row["images"]) for row in mine) == len(scores) == 60
        mean = sum(int(row["images"]) * float(row["score"]) for row in mine) / 60
        assert mean == pytest.approx(scores.mean(), abs=np.ptp(drawn().scores) / 80)
    assert len({row["score"] for row in table}) * 2 == len(table)


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    sample = drawn(20_000)
    save_plots({"cnn": sample}, tmp_path)
    for name, pair in (("roc", ("false_positive_rate", "sensitivity")), ("precision_recall", ("recall", "precision"))):
        curve = columns(tmp_path / f"{name}.csv", *pair)
        assert 300 <= len(curve) <= 400
    curve = columns(tmp_path / "roc.csv", "false_positive_rate", "sensitivity")
    assert (curve[0].tolist(), curve[-1].tolist()) == ([0, 0], [1, 1])
    assert sk.auc(*curve.T) == pytest.approx(sk.roc_auc_score(sample.labels, sample.scores), abs=1e-3)


def test_a_saved_bench_is_the_bench(tmp_path: Path) -> None:
    comparison = analysed(val_and_test())["threshold_comparison"]
    save_threshold_comparison(comparison, tmp_path / "threshold_comparison.csv")
    table = rows(tmp_path / "threshold_comparison.csv")
    assert [row.pop("policy") for row in table] == ["youden", "mean_sd sd=2"]
    estimates = ["threshold"] + [
        f"{split}_{rate}" for split in ("val", "test") for rate in ("false_positive_rate", "false_negative_rate")
    ]
    ends = [f"{name}{end}" for name in estimates for end in ("", "_low", "_high")]
    assert list(table[0]) == [*ends, "drift_false_positive_rate", "drift_false_negative_rate"]
    for read, row in zip(table, comparison, strict=True):
        expected = list(row["threshold"].values())
        expected += [v for rates in row["rates"].values() for estimate in rates.values() for v in estimate.values()]
        assert [float(value) for value in read.values()] == expected + list(row["drift"].values())


def test_what_the_bench_lacks_is_an_empty_cell(tmp_path: Path) -> None:
    nothing = {"value": None, "low": None, "high": None}
    row = {
        "policy": "youden",
        "threshold": {"value": 0.25, "low": 0.1, "high": 0.5},
        "rates": {"test": {"false_negative_rate": nothing}},
        "drift": {"false_negative_rate": None},
    }
    save_threshold_comparison([row], tmp_path / "threshold_comparison.csv")
    assert (tmp_path / "threshold_comparison.csv").read_text().splitlines() == [
        "policy,threshold,threshold_low,threshold_high,test_false_negative_rate,test_false_negative_rate_low,"
        "test_false_negative_rate_high,drift_false_negative_rate",
        "youden,0.25,0.1,0.5,,,,",
    ]
    save_threshold_comparison([], tmp_path / "threshold_comparison.csv")
    assert (tmp_path / "threshold_comparison.csv").read_text() == "policy\n"


def test_pictures_show_something(saved: Path) -> None:
    for name in (*PICTURES, "operating.png"):
        with Image.open(saved / name) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 5
            assert "Software" not in picture.info


def test_the_same_outcomes_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    save_all(val_and_test(), POINT, tmp_path)
    for path in saved.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_other_outcomes_give_other_pictures(saved: Path, tmp_path: Path) -> None:
    save_all(val_and_test(threshold=1.0), POINT | {"threshold": 1.0}, tmp_path)
    for name in ("confusion.png", "roc.png", "errors.png", "operating.png"):
        assert (tmp_path / name).read_bytes() != (saved / name).read_bytes(), name
    for name in ("precision_recall.png", "decision_curve.png", "shift.png"):  # know no threshold
        assert (tmp_path / name).read_bytes() == (saved / name).read_bytes(), name


def test_findings_have_a_picture_where_the_detector_tells_them_apart(saved: Path, tmp_path: Path) -> None:
    save_all(val_and_test(), POINT, tmp_path, with_classes=True)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in saved.iterdir()} | {"classes.png"}
    with Image.open(tmp_path / "classes.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


@pytest.mark.parametrize(("spread", "threshold"), [(0.0, 0.5), (0.0, 0.0), (1e-12, 0.0), (1e12, 0.5)])
def test_scores_of_any_scale_are_drawn(tmp_path: Path, spread: float, threshold: float) -> None:
    point = POINT | {"threshold": threshold, "defer_from": threshold, "defer_to": threshold + spread}
    save_all(val_and_test(spread=spread, threshold=threshold), point, tmp_path)
    assert sum(int(row["images"]) for row in rows(tmp_path / "histogram.csv")) == 120
    assert len(list(tmp_path.glob("*.png"))) == len(PICTURES) + 1


def test_one_abnormal_image_is_drawn(tmp_path: Path) -> None:
    splits = val_and_test()
    few = np.append(np.flatnonzero(splits["test"].labels == 0), 1)
    save_all(splits | {"test": splits["test"].take(few)}, POINT, tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == len(PICTURES) + 1


def test_the_operating_point_lies_on_the_roc_curve(axes: Axes) -> None:
    sample = drawn()
    draw_roc(axes, sample)
    expected = [sample.abnormal[sample.labels == label].mean() for label in (0, 1)]
    assert line(axes, "operating point")[0] == pytest.approx(expected)
    curve = line(axes, "detector")
    assert np.abs(curve - expected).sum(axis=1).min() < 0.05
    assert sk.auc(*curve.T) == pytest.approx(sk.roc_auc_score(sample.labels, sample.scores), abs=1e-5)


def test_chance_precision_is_the_share_of_abnormal_images(axes: Axes) -> None:
    draw_precision_recall(axes, drawn(121).take(np.array([0, 1, 2, 4, 6])))
    assert line(axes, "Chance level (AP = 0.20)")[:, 1].tolist() == [0.2, 0.2]


def test_counts_are_written_with_the_share_of_their_row(axes: Axes) -> None:
    draw_counts(axes, np.array([[3, 1, 0], [0, 0, 0], [1, 0, 3]]), NAMES)
    texts = {text.get_position(): text.get_text() for text in axes.texts}  # position: what it was called, what it is
    assert texts[(1, 0)] == "1\n25.0%"
    assert texts[(0, 1)] == "0\n0.0%"
    assert texts[(2, 2)] == "3\n75.0%"
    lightness = {text.get_text(): sum(matplotlib.colors.to_rgb(text.get_color())) for text in axes.texts}
    assert lightness["3\n75.0%"] > 2.5  # light on dark
    assert lightness["0\n0.0%"] < 1.5
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "actual")


def test_reliability_is_drawn_with_its_intervals(axes: Axes) -> None:
    tables = analysed(val_and_test())["reliability"]
    draw_reliability(axes, tables)
    assert [container.get_label() for container in axes.containers] == ["val, used for the fit", "test"]
    for container, table in zip(axes.containers, tables.values(), strict=True):
        points, _, (bars,) = container.lines
        assert points.get_xdata().tolist() == [row["mean_probability"] for row in table]
        assert points.get_ydata().tolist() == [row["observed"]["value"] for row in table]
        ends = [[segment[0, 1], segment[1, 1]] for segment in bars.get_segments()]
        expected = [[row["observed"]["low"], row["observed"]["high"]] for row in table]
        assert np.array(ends) == pytest.approx(np.array(expected))


def test_a_decision_curve_is_between_its_ends(axes: Axes) -> None:
    curve = analysed(val_and_test())["decision_curve"]
    draw_decision_curve(axes, curve, 0.3)
    assert line(axes, "detector").tolist() == [[row["threshold"], row["model"]["value"]] for row in curve]
    assert line(axes, "refer all")[:, 1].tolist() == [row["treat_all"]["value"] for row in curve]
    assert line(axes, "refer none")[:, 1].tolist() == [0, 0]
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == min(row["model"]["low"] for row in curve)
    assert heights.max() == max(row["model"]["high"] for row in curve)
    assert "30% abnormal" in axes.get_ylabel()


def test_shift_is_the_share_of_p_values_at_or_below(axes: Axes) -> None:
    draw_shift(axes, np.array([0.5, 0.25, 1.0, 0.75]))
    steps = line(axes, "4 healthy images of test")
    assert steps.tolist() == [[0.25, 0], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75], [1, 1]]
    assert axes.lines[1].get_drawstyle() == "steps-post"
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() - 1 == pytest.approx(np.sqrt(np.log(40) / 8))
    draw_shift(axes, np.zeros(0))


def test_errors_show_every_score_in_its_place(axes: Axes) -> None:
    splits = {"val": drawn(40, seed=2), "test": drawn(60).take(np.arange(0, 60, 2))}  # no abnormal image in test
    draw_errors(axes, splits, 0.75)
    clouds = [entry for entry in axes.lines if entry.get_marker() == "."]
    for place, (split, label) in enumerate([("val", 0), ("val", 1), ("test", 0), ("test", 1)]):
        scores = splits[split].scores[splits[split].labels == label]
        assert clouds[place].get_ydata().tolist() == scores.tolist()
        assert (np.abs(clouds[place].get_xdata() - place) <= 0.3).all()
    assert [len(cloud.get_ydata()) for cloud in clouds] == [20, 20, 30, 0]
    assert len(axes.containers) == 3  # where there is no image there is no mean
    points, _, (bars,) = axes.containers[0].lines
    scores = splits["val"].scores[splits["val"].labels == 0]
    assert points.get_ydata()[0] == pytest.approx(scores.mean())
    assert np.ptp(bars.get_segments()[0][:, 1]) == pytest.approx(2 * scores.std())
    assert [label.get_text() for label in axes.get_xticklabels()][1] == "val\nabnormal"
    assert any(list(entry.get_ydata()) == [0.75, 0.75] for entry in axes.lines)


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures of operating points, in place of files."""
    kept: list[Figure] = []
    monkeypatch.setattr(operating, "save_figure", lambda made, _: kept.append(made))
    return kept


def test_the_operating_picture_says_what_the_threshold_costs(figure: list[Figure], tmp_path: Path) -> None:
    labels, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.4, 0.9])
    deferred = (scores >= 0.35) & (scores < 0.6)
    without_band = outcomes_of(labels=labels, scores=scores, patients=np.arange(6), abnormal=scores >= 0.5)
    by_hand = replace(without_band, deferred=deferred)
    point = {"threshold": 0.5, "defer_from": 0.35, "defer_to": 0.6, "policy": "youden"}
    save_operating({"val": by_hand, "test": without_band}, point, "cnn", tmp_path / "unused.png")
    upper, lower = figure[0].axes
    rates = "false positives 25.0% of 4, false negatives 50.0% of 2"
    assert upper.get_title("left") == f"val: {rates}\ndeferred 16.7% of 6, wrong among the rest 20.0% of 5"
    assert lower.get_title("left") == f"test: {rates}"
    assert figure[0].get_suptitle() == "cnn: threshold 0.5 by youden on val"
    assert [text.get_text() for text in upper.get_legend().get_texts()][:2] == ["normal (4)", "abnormal (2)"]
    for each in (upper, lower):
        assert list(line(each, "threshold")[:, 0]) == [0.5, 0.5]
        normal, abnormal, band = each.patches
        assert sum(normal.get_data().values) == 4
        assert sum(abnormal.get_data().values) == 2
        assert (band.get_x(), band.get_width()) == pytest.approx((0.35, 0.25))
        assert matplotlib.colors.to_hex(band.get_facecolor()) == "#ddcc77"
    assert not list(tmp_path.iterdir())


def test_an_outlier_is_counted_and_does_not_squeeze_the_rest(figure: list[Figure], tmp_path: Path) -> None:
    sample = drawn(2000)
    sample.scores[0] = 1e6
    point = POINT | {"defer_from": -1e9, "defer_to": 1e9}
    save_operating({"val": sample, "test": sample}, point, "cnn", tmp_path / "unused.png")
    normal, _, band = figure[0].axes[0].patches
    assert sum(normal.get_data().values) == 1000
    assert np.ptp(normal.get_data().edges) < 10
    assert band.get_width() == pytest.approx(np.ptp(normal.get_data().edges))


def test_a_threshold_beyond_the_scores_is_shown(figure: list[Figure], tmp_path: Path) -> None:
    for threshold in (-50.0, 50.0):
        save_operating(val_and_test(), POINT | {"threshold": threshold}, "cnn", tmp_path / "unused.png")
        edges = figure[-1].axes[0].patches[0].get_data().edges
        assert edges.min() <= threshold <= edges.max()
