import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from medscreen.evaluation import Outcomes, confusion
from medscreen.figures import save_pictures, save_tables

TABLES = ("confusion.csv", "histogram.csv", "precision_recall.csv", "roc.csv")
PICTURES = ("confusion.png", "precision_recall.png", "roc.png", "scores.png")


def drawn(number: int = 120, spread: float = 1.0, threshold: float = 0.5) -> Outcomes:
    rng = np.random.default_rng(1)
    labels = np.arange(number) % 2
    scores = rng.normal(labels, 1.0) * spread
    return Outcomes(labels, scores, scores >= threshold, np.arange(number), None)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def columns(path: Path, *names: str) -> np.ndarray:
    return np.array([[float(row[name]) for name in names] for row in rows(path)])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_tables(drawn(), tmp_path)
    save_pictures(drawn(), 0.5, "cnn, test split", tmp_path)
    return tmp_path


def test_nothing_but_the_named_files_is_written(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([*TABLES, *PICTURES])


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
    save_tables(sample, tmp_path)
    for name, pair in (("roc", ("false_positive_rate", "sensitivity")), ("precision_recall", ("recall", "precision"))):
        curve = columns(tmp_path / f"{name}.csv", *pair)
        assert 300 <= len(curve) <= 400
    curve = columns(tmp_path / "roc.csv", "false_positive_rate", "sensitivity")
    assert (curve[0].tolist(), curve[-1].tolist()) == ([0, 0], [1, 1])
    assert sk.auc(*curve.T) == pytest.approx(sk.roc_auc_score(sample.labels, sample.scores), abs=1e-3)


def test_pictures_show_something(saved: Path) -> None:
    for name in PICTURES:
        with Image.open(saved / name) as picture:
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 5
            assert "Software" not in picture.info


def test_the_same_outcomes_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_tables(drawn(), again)
    save_pictures(drawn(), 0.5, "cnn, test split", again)
    for name in (*TABLES, *PICTURES):
        assert (again / name).read_bytes() == (saved / name).read_bytes(), name


def test_other_outcomes_give_other_pictures(saved: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_pictures(drawn(threshold=1.0), 1.0, "cnn, test split", again)
    for name in ("confusion.png", "roc.png", "scores.png"):
        assert (again / name).read_bytes() != (saved / name).read_bytes(), name


@pytest.mark.parametrize(("spread", "threshold"), [(0.0, 0.5), (0.0, 0.0), (1e-12, 0.0), (1e12, 0.5)])
def test_scores_of_any_scale_are_drawn(tmp_path: Path, spread: float, threshold: float) -> None:
    sample = drawn(spread=spread, threshold=threshold)
    save_tables(sample, tmp_path)
    save_pictures(sample, threshold, "constant", tmp_path)
    assert sum(int(row["images"]) for row in rows(tmp_path / "histogram.csv")) == 120
