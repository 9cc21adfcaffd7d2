"""Subgroups, findings and the distribution of scores."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from factories import drawn_outcomes, outcomes
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import METRICS, evaluate
from medscreen.evaluation.per_finding import findings
from medscreen.evaluation.score_distribution import score_distribution
from medscreen.evaluation.subgroups import subgroups

BOOTSTRAP = Bootstrap(200, 0.95, 3)
UNDEFINED = {"value": None, "low": None, "high": None}


def test_a_subgroup_is_evaluated_as_if_it_were_all() -> None:
    sample = drawn_outcomes(120, seed=1)
    sites = np.random.default_rng(2).choice(["north", "south"], 120)
    rows = subgroups(sample, list(sites), BOOTSTRAP)
    assert list(rows) == ["north", "south"]
    for site, row in rows.items():
        part = sample.take(np.flatnonzero(sites == site))
        assert row["metrics"] == evaluate(part, BOOTSTRAP)
        assert row["images"] == len(part.labels) == row["normal"] + row["abnormal"]
        assert row["abnormal"] == part.labels.sum()
        assert row["patients"] == len(set(part.patients))
    assert set(rows["north"]["metrics"]) == set(METRICS)


def test_a_subgroup_with_one_class_has_what_can_be_had() -> None:
    sample = outcomes([0, 1, 1, 1], [0.1, 0.9, 0.8, 0.2], patients=[1, 2, 3, 3])
    row = subgroups(sample, ["m", "m", "f", "f"], BOOTSTRAP, ["auroc", "sensitivity", "specificity"])["f"]
    assert row["metrics"]["auroc"] == row["metrics"]["specificity"] == UNDEFINED
    assert row["metrics"]["sensitivity"]["value"] == 0.5
    assert (row["images"], row["patients"], row["normal"], row["abnormal"]) == (2, 1, 0, 2)
    assert list(row["metrics"]) == ["auroc", "sensitivity", "specificity"]


def test_no_image_no_subgroup() -> None:
    nothing = drawn_outcomes(10, seed=7).take(np.array([], np.int64))
    assert subgroups(nothing, [], BOOTSTRAP) == {}
    assert findings(nothing, [], BOOTSTRAP) == {}


def test_a_finding_is_judged_against_all_normal_images() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    scores = np.array([0.1, 0.3, 0.6, 0.9, 0.8, 0.2, 0.7])
    kinds = ["none", "other", "none", "mass", "mass", "nodule", "nodule"]
    rows = findings(outcomes(labels, scores), kinds, BOOTSTRAP)
    assert list(rows) == ["mass", "nodule"]
    assert rows["mass"]["metrics"]["auroc"]["value"] == rows["mass"]["metrics"]["sensitivity"]["value"] == 1
    assert rows["nodule"]["metrics"]["sensitivity"]["value"] == 0.5
    expected = roc_auc_score(labels[[0, 1, 2, 5, 6]], scores[[0, 1, 2, 5, 6]])
    assert rows["nodule"]["metrics"]["auroc"]["value"] == pytest.approx(expected, abs=1e-6)
    assert (rows["nodule"]["normal"], rows["nodule"]["abnormal"]) == (3, 2)


def test_findings_without_a_normal_image_have_no_auroc() -> None:
    rows = findings(outcomes([1, 1], [0.9, 0.1]), ["mass", "nodule"], BOOTSTRAP)
    assert rows["mass"]["metrics"]["auroc"] == UNDEFINED
    assert rows["mass"]["metrics"]["sensitivity"]["value"] == 1


def test_the_distribution_of_scores_by_class() -> None:
    found = score_distribution(outcomes([0, 0, 0, 0, 1], [1, 2, 3, 6, 9]))
    assert found["normal"] == {
        "images": 4,
        "mean": 3.0,
        "sd": 2.16025,
        "quantiles": {"0.0": 1, "0.05": 1.15, "0.25": 1.75, "0.5": 2.5, "0.75": 3.75, "0.95": 5.55, "1.0": 6},
    }
    assert found["abnormal"]["mean"] == found["abnormal"]["quantiles"]["0.5"] == 9
    assert found["abnormal"]["sd"] is None


def test_a_class_without_images_has_an_empty_distribution() -> None:
    empty = score_distribution(outcomes([0], [1]))["abnormal"]
    assert (empty["images"], empty["mean"], empty["sd"]) == (0, None, None)
    assert set(empty["quantiles"].values()) == {None}
