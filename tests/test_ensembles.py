"""Ensembles: their scales and weights, and members that somebody trained before."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import TypeAdapter
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from factories import PARAMS_YAML, REPOSITORY, image_set, one_sentence
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params, load_params
from medscreen.data.images import ImageSet, save_images, set_digest
from medscreen.detectors.build import build
from medscreen.detectors.ensemble import detector as ensembles
from medscreen.detectors.ensemble.detector import log_likelihood, platt, raised_weights
from medscreen.detectors.ensemble.networks import EmpiricalRank
from medscreen.detectors.shared.base import score
from medscreen.detectors.shared.classifier import ClassifierDetector
from medscreen.detectors.statistic.detector import StatisticDetector
from medscreen.errors import MedscreenError
from medscreen.pipeline import fit as fitting_stage
from medscreen.workspace.layout import Layout
from tiny_detectors import PLAIN, SMALL_CNN, TRAINING

SIZE = 20
CNN = SMALL_CNN | {"width": 2, "recipe": PLAIN, "training": TRAINING | {"epochs": 1}}
GRADIENT = {"kind": "statistic", "variant": "gradient"}
FINDINGS = CNN | {"findings": ["spot", "stain"]}
TRAIN, TUNE, FRESH = (image_set(number, SIZE, seed) for number, seed in ((32, 1), (20, 2), (24, 3)))


def built(settings: dict[str, Any]) -> Any:
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(settings)
    return build(params, SIZE, ComputeParams(threads=1, device="cpu"), 7)


def ensemble(combine: str, **members: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "ensemble", "combine": combine, "members": members}


def ranked(known: list[float], scores: list[float]) -> np.ndarray:
    rank = EmpiricalRank()
    rank.learn(torch.tensor(known))
    found: np.ndarray = rank(torch.tensor(scores)).numpy()
    return found


def test_a_rank_is_the_share_of_known_scores_below() -> None:
    known = np.random.default_rng(1).normal(5, 3, 400).astype(np.float32)
    found = ranked(known.tolist(), known.tolist())
    np.testing.assert_allclose(found, (known[:, None] > known).mean(1) + 0.5 / 400, atol=0.015)


def test_ranks_of_few_scores_are_known_exactly() -> None:
    # equal scores share their mean rank; between two, a line
    np.testing.assert_allclose(ranked([0.0, 2.0, 2.0, 4.0], [0, 2, 4, 1, 3]), [0.125, 0.5, 0.875, 0.3125, 0.6875])


def test_ranks_rise_everywhere_even_beyond_what_is_known() -> None:
    known = np.random.default_rng(2).normal(0, 1, 60)
    found = ranked(known.tolist(), np.linspace(-30, 30, 2001).tolist())
    assert (np.diff(found) > 0).all()
    assert found[0] > -0.1
    assert found[-1] < 1.1


def test_known_scores_that_hardly_differ_make_no_cliff() -> None:
    found = ranked([0.0, 0.5, 0.5 + 1e-7, 0.5 + 2e-7, 1.0], [0.5, 0.5 + 2e-7])
    assert found[1] - found[0] < 1e-5


def test_one_known_score_gives_finite_ranks_that_rise() -> None:
    found = ranked([3.0, 3.0], [-100, 2, 3, 4, 100])
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def opinions(seed: int, *strengths: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(300) % 2
    return labels, rng.normal(0, 1, (300, len(strengths))) + labels[:, None] * strengths


def test_weights_favour_the_better_member_and_raise_the_worth() -> None:
    labels, predictions = opinions(1, 0.2, 2.0, 0.0)

    def worth(mean: np.ndarray) -> float:
        return float(roc_auc_score(labels, mean))

    weights = raised_weights(predictions, worth)
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    assert weights[1] > 0.7
    assert worth(predictions @ weights) > worth(predictions.mean(1)) + 0.01


def test_equal_members_keep_equal_weights() -> None:
    labels, predictions = opinions(2, 1.0)
    weights = raised_weights(
        np.hstack([predictions, predictions, predictions]), lambda mean: float(roc_auc_score(labels, mean))
    )
    np.testing.assert_allclose(weights, 1 / 3)


def test_the_likelihood_counts_both_classes_the_same() -> None:
    labels, odds = np.array([0, 0, 0, 1]), np.array([-1.0, -1.0, -1.0, 2.0])
    expected = (np.log(1 / (1 + np.exp(-1))) + np.log(1 / (1 + np.exp(-2)))) / 2
    assert log_likelihood(labels, odds) == pytest.approx(expected)


def test_platts_curve_is_the_best_one() -> None:
    labels, predictions = opinions(3, 1.5)
    labels, scores = labels[:200], 40 + 7 * predictions[:200, 0]
    labels[:60:2] = 1  # two classes of unlike size
    counts = np.bincount(labels)
    sure = (counts[labels] + 1) / (counts[labels] + 2)
    weights = 1 / counts[labels]

    def loss(curve: np.ndarray) -> float:
        odds = curve[0] * (scores - 40) / 7 + curve[1]
        right, wrong = (np.logaddexp(0, -sign * np.where(labels == 1, odds, -odds)) for sign in (1, -1))
        return float((weights * (sure * right + (1 - sure) * wrong)).sum())

    slope, offset = platt(scores, labels)
    best = minimize(loss, [1.0, 0.0]).x
    assert slope == pytest.approx(best[0] / 7, rel=1e-3)
    assert offset == pytest.approx(best[1] - 40 * best[0] / 7, rel=1e-3)


def test_platts_curve_of_separated_scores_is_finite() -> None:
    slope, offset = platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    assert 0 < slope < 100
    assert slope * 1.5 + offset == pytest.approx(0, abs=1e-3)


def test_a_score_that_points_the_wrong_way_is_not_turned_around() -> None:
    assert platt(np.arange(10.0), (np.arange(10) < 5).astype(np.int64)) == (0.0, 0.0)


@pytest.mark.parametrize("combine", ["rank", "probability"])
def test_an_ensemble_is_the_weighted_mean_of_its_scaled_members(combine: str) -> None:
    made = built(ensemble(combine, one=GRADIENT, two=FINDINGS)).fit(TRAIN, TUNE)
    alone = [built(settings).fit(TRAIN, TUNE) for settings in (GRADIENT, FINDINGS)]
    total = np.zeros(len(FRESH))
    for member, scale, weight in zip(alone, made.network.scales, made.network.weights, strict=True):
        total += float(weight) * scale(torch.from_numpy(score(member, FRESH.pixels))).double().numpy()
    np.testing.assert_allclose(score(made, FRESH.pixels), total, atol=1e-5)
    assert made.network.weights.sum().item() == pytest.approx(1)
    assert made.decision_boundary == (0.0 if combine == "probability" else None)


@pytest.mark.parametrize("combine", ["rank", "probability"])
def test_weights_are_chosen_on_tune_and_applied(combine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []

    def chosen(predictions: np.ndarray, worth: Any) -> np.ndarray:
        heard.append(predictions)
        return np.array([0.9, 0.1])

    monkeypatch.setattr(ensembles, "raised_weights", chosen)
    made = built(ensemble(combine, one=GRADIENT, two=CNN)).fit(TRAIN, TUNE)
    assert made.network.weights.tolist() == pytest.approx([0.9, 0.1])
    with torch.no_grad():
        predictions = made.network.opinions(torch.from_numpy(TUNE.pixels)[:, None] / 255).numpy()
    np.testing.assert_allclose(heard[0], predictions, atol=1e-5)
    np.testing.assert_allclose(score(made, TUNE.pixels), predictions @ [0.9, 0.1], atol=1e-5)


def test_with_one_class_in_tune_ranks_weigh_the_same_and_probabilities_are_refused() -> None:
    made = built(ensemble("rank", one=GRADIENT, two=CNN)).fit(TRAIN, TUNE.healthy())
    assert made.network.weights.tolist() == [0.5, 0.5]
    with pytest.raises(MedscreenError, match="Set combine: rank") as error:
        built(ensemble("probability", one=GRADIENT, two=CNN)).fit(TRAIN, TUNE.healthy())
    one_sentence(error)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Layout, Params]:
    """A roster of a cnn and an ensemble that holds the same, with curated images and no MLflow."""

    @contextmanager
    def unwatched(*_: Any) -> Iterator[Any]:
        class Live:
            def on_epoch(self, *_: Any) -> None: ...

        yield Live()

    monkeypatch.setattr(fitting_stage, "live_run", unwatched)
    content = yaml.safe_load(PARAMS_YAML.read_text())
    content["detectors"] = {"cnn": CNN, "both": ensemble("rank", conv=CNN, plain=GRADIENT)}
    content["compute"] = {"threads": 1, "device": "cpu"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    layout = Layout(tmp_path, tmp_path)
    audit = {}
    for split, images in (("train", TRAIN), ("tune", TUNE), ("val", FRESH)):
        save_images(images, np.arange(len(images)), layout.curated(split))
        audit[split] = {"digest": set_digest(images), "images": len(images)}
    layout.raw.write_text(json.dumps({"dataset": "phantom"}))
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)  # which lists the code of a training
    layout.curation_report.parent.mkdir()
    layout.curation_report.write_text(json.dumps({"splits": audit}))
    return layout, load_params(layout.params)


def trainings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the kind of each detector that is trained from now on."""
    trained: list[str] = []

    def spied(kind: str, fit: Any) -> Any:
        def spy(self: Any, *images: ImageSet) -> Any:
            trained.append(kind)
            return fit(self, *images)

        return spy

    monkeypatch.setattr(ClassifierDetector, "fit", spied("cnn", ClassifierDetector.fit))
    monkeypatch.setattr(StatisticDetector, "fit", spied("gradient", StatisticDetector.fit))
    return trained


def left(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(layout.fitted("both").iterdir())}


@pytest.mark.slow
def test_a_member_that_the_workspace_holds_is_not_trained_again(
    workspace: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = workspace
    fitting_stage.fit(layout, params, "both")
    alone = left(layout)
    fitting_stage.fit(layout, params, "cnn")
    trained = trainings(monkeypatch)
    fitting_stage.fit(layout, params, "both")
    assert trained == ["gradient"]
    assert left(layout) == alone


@pytest.mark.slow
def test_a_state_that_is_not_the_one_its_training_left_is_not_taken(
    workspace: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, params = workspace
    fitting_stage.fit(layout, params, "cnn")
    state = layout.fitted("cnn") / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-4] + b"\0\0\0\1")
    trained = trainings(monkeypatch)
    fitting_stage.fit(layout, params, "both")
    assert trained == ["cnn", "gradient"]


@pytest.mark.slow
def test_another_seeds_training_is_not_taken(workspace: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch) -> None:
    layout, params = workspace
    fitting_stage.fit(layout, params, "cnn")
    trained = trainings(monkeypatch)
    fitting_stage.fit(layout, params.model_copy(update={"seed": 8}), "both")
    assert trained == ["cnn", "gradient"]


@pytest.mark.slow
@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_damaged_neighbour_is_passed_over(
    workspace: tuple[Layout, Params], monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    layout, params = workspace
    fitting_stage.fit(layout, params, "cnn")
    (layout.fitted("cnn") / "fit.json").write_text(content)
    trained = trainings(monkeypatch)
    fitting_stage.fit(layout, params, "both")
    assert trained == ["cnn", "gradient"]


def test_one_score_far_off_leaves_the_others_their_ranks() -> None:
    known = [*np.linspace(0, 1, 50).tolist(), 1000.0]
    found = ranked(known, [0.2, 0.5, 0.8])
    np.testing.assert_allclose(found, [0.2, 0.5, 0.8], atol=0.03)
