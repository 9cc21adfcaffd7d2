import numpy as np
import pytest
from sklearn import metrics as sk

from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.multiclass import ClassOutcomes, confusion_matrix, macro_auroc, per_class

BOOTSTRAP = Bootstrap(200, 0.95, 3)
UNDEFINED = {"value": None, "low": None, "high": None}
CLASSES = ("normal", "benign", "malignant")


def drawn(number: int, seed: int) -> ClassOutcomes:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, number, p=[0.6, 0.3, 0.1])
    logits = rng.normal(0, 1, (number, 3)) + 1.2 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return ClassOutcomes(CLASSES, labels, probabilities, rng.integers(0, number // 2, number))


def test_areas_are_those_of_scikit_learn() -> None:
    sample = drawn(200, seed=1)
    macro = sk.roc_auc_score(sample.labels, sample.probabilities, multi_class="ovr", average="macro")
    assert macro_auroc(sample, BOOTSTRAP)["value"] == pytest.approx(macro, abs=1e-6)
    each = sk.roc_auc_score(sample.labels, sample.probabilities, multi_class="ovr", average=None)
    assert [row["auroc"]["value"] for row in per_class(sample, BOOTSTRAP).values()] == pytest.approx(each, abs=1e-6)


def test_class_rows_are_those_of_scikit_learn() -> None:
    sample = drawn(200, seed=2)
    called = sample.probabilities.argmax(axis=1)
    ppv, sensitivity, _, images = sk.precision_recall_fscore_support(sample.labels, called)
    rows = per_class(sample, BOOTSTRAP)
    assert list(rows) == list(CLASSES)
    assert [row["ppv"]["value"] for row in rows.values()] == pytest.approx(ppv, abs=1e-6)
    assert [row["sensitivity"]["value"] for row in rows.values()] == pytest.approx(sensitivity, abs=1e-6)
    assert [row["images"] for row in rows.values()] == images.tolist()
    for number, row in enumerate(rows.values()):
        assert row["patients"] == len(set(sample.patients[sample.labels == number]))
        assert row["auroc"]["low"] < row["auroc"]["value"] < row["auroc"]["high"]
        # shares have the interval that they have everywhere, with a width also at 0 and 1
        assert row["sensitivity"] == evaluate(sample.one_vs_rest(number), BOOTSTRAP, ["sensitivity"])["sensitivity"]


def test_the_interval_of_the_macro_average_is_from_resampled_patients() -> None:
    sample = drawn(400, seed=3)
    areas = []
    for row in BOOTSTRAP.weights(sample.patients):
        index = np.repeat(np.arange(400), row.astype(int))
        areas.append(sk.roc_auc_score(sample.labels[index], sample.probabilities[index], multi_class="ovr"))
    estimate = macro_auroc(sample, BOOTSTRAP)
    assert [estimate["low"], estimate["high"]] == pytest.approx(np.quantile(areas[1:], [0.025, 0.975]), abs=1e-6)


def test_the_confusion_matrix_by_hand() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.5, 0.4], [0.4, 0.4, 0.2]])
    sample = ClassOutcomes(CLASSES, np.array([0, 0, 1, 2]), probabilities, np.arange(4))
    assert confusion_matrix(sample).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert sample.called.tolist() == [0, 1, 1, 0]  # the first of equals


def test_two_classes_are_one_against_the_other() -> None:
    sample = drawn(100, seed=4)
    share = sample.probabilities[:, 1]
    two = ClassOutcomes(("a", "b"), np.minimum(sample.labels, 1), np.stack([1 - share, share], 1), sample.patients)
    rows = per_class(two, BOOTSTRAP)
    assert rows["a"]["auroc"] == rows["b"]["auroc"] == macro_auroc(two, BOOTSTRAP)


def test_a_class_without_images_is_undefined() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]])
    sample = ClassOutcomes(CLASSES, np.array([0, 1]), probabilities, np.arange(2))
    row = per_class(sample, BOOTSTRAP)["malignant"]
    assert row == {"images": 0, "patients": 0, "auroc": UNDEFINED, "sensitivity": UNDEFINED, "ppv": UNDEFINED}
    assert macro_auroc(sample, BOOTSTRAP) == UNDEFINED


def test_no_images_are_undefined() -> None:
    nothing = ClassOutcomes(CLASSES, np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0, np.int64))
    assert macro_auroc(nothing, BOOTSTRAP) == UNDEFINED
    assert per_class(nothing, BOOTSTRAP)["normal"]["auroc"] == UNDEFINED
    assert confusion_matrix(nothing).tolist() == [[0] * 3] * 3
