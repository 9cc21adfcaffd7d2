"""Embeddings and their heads, held to what scikit-learn itself says."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from factories import image_set, one_sentence, unstated
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.embedding import HeadParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.embedding import detector as embeddings
from medscreen.detectors.embedding.head_search import fit_head, patient_folds
from medscreen.detectors.embedding.knn_head import KnnHead
from medscreen.detectors.embedding.networks import Embedding
from medscreen.detectors.embedding.score_heads import Head, Known, head_of
from medscreen.detectors.embedding.svm_head import SvmHead
from medscreen.detectors.shared.base import score
from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers
from medscreen.detectors.shared.layers.pooling import cell_means
from medscreen.detectors.shared.layers.residual_network import ResidualClassifier
from medscreen.errors import MedscreenError

WIDTH = 6
HEADS: dict[str, dict[str, Any]] = {
    "logistic": {"inverse_penalty": [0.001, 1.0]},
    "svm": {"inverse_penalty": [0.01, 3.0], "gamma": [0.3, 1.0]},
    "knn": {"neighbors": [2, 9], "temperature": [0.1, 0.3]},
    "mlp": {"hidden": [7, 5], "penalty": [0.1, 1.0], "epochs": 60},
}
every_head = pytest.mark.parametrize("kind", HEADS)
two_or_three_classes = pytest.mark.parametrize("classes", [2, 3])


def head(kind: str) -> Head:
    params: HeadParams = TypeAdapter(HeadParams).validate_python({"kind": kind, **HEADS[kind]})
    return head_of(params)


def clouds(classes: int, number: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (N, WIDTH) in overlapping clouds, the first of them as large as all others, two vectors a patient."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(number) // 2 % 2 == 0, 0, 1 + np.arange(number) // 4 % (classes - 1))
    centers = 5 + 2 * np.eye(WIDTH)[:classes]
    vectors = (centers[labels] + rng.normal(0, 1, (number, WIDTH))) * np.arange(1, WIDTH + 1)
    return vectors, labels, np.arange(number) // 2


def fitted(kind: str, classes: int) -> tuple[nn.Sequential, Pipeline, Known, list[float]]:
    """A head's module, the pipeline that it was filled from, what that was fitted on, and what the search chose."""
    vectors, labels, patients = clouds(classes, 120, 1)
    known = Known(vectors, labels, patient_folds(labels, patients, 3, 7))
    made, kept = head(kind), []

    class Spied:
        fresh, pipeline, tried = made.fresh, made.pipeline, made.tried

        def fill(self, module: nn.Sequential, pipeline: Pipeline, known: Known) -> None:
            kept.append(pipeline)
            made.fill(module, pipeline, known)

    module = made.fresh(WIDTH, classes)
    chosen = fit_head(Spied(), module, known, 7, 1)
    return module.eval(), kept[0], known, chosen


def outputs_of(module: nn.Module, vectors: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits: np.ndarray = module(torch.from_numpy(vectors).float()).double().numpy()
    return logits


def shares(known: Known) -> np.ndarray:
    return np.bincount(known.classes) / len(known.classes)


@two_or_three_classes
def test_a_logistic_head_says_what_the_regression_says(classes: int) -> None:
    module, pipeline, _, _ = fitted("logistic", classes)
    new = clouds(classes, 40, 2)[0]
    expected = pipeline.decision_function(new).reshape(40, -1)
    np.testing.assert_allclose(outputs_of(module, new), expected, atol=1e-4)


@two_or_three_classes
def test_an_svm_head_decides_as_the_machine_does(classes: int) -> None:
    module, pipeline, known, _ = fitted("svm", classes)
    new = clouds(classes, 40, 2)[0]
    expected = pipeline.decision_function(new).reshape(40, -1)
    np.testing.assert_allclose(outputs_of(module[:2], new), expected, atol=1e-4)
    assert len(module[1].vectors) < len(known.vectors)


def test_an_svm_heads_odds_are_platts_curve_of_images_not_learned_from() -> None:
    module, pipeline, known, _ = fitted("svm", 2)
    unseen = np.zeros(len(known.classes))
    for learn, judge in known.folds:
        unseen[judge] = (
            clone(pipeline).fit(known.vectors[learn], known.classes[learn]).decision_function(known.vectors[judge])
        )
    weights = (0.5 / shares(known))[known.classes]

    def loss(curve: np.ndarray) -> float:
        odds = curve[0] * unseen + curve[1]
        return float((weights * np.logaddexp(0, np.where(known.classes == 1, -odds, odds))).sum() + curve[0] ** 2 / 2)

    slope, offset = minimize(loss, [1.0, 0.0]).x
    assert module[2].weight.item() == pytest.approx(slope, rel=0.01)
    assert module[2].bias.item() == pytest.approx(offset, abs=0.02)


def test_an_svm_heads_odds_of_three_classes_are_worth_something() -> None:
    module, _, _, _ = fitted("svm", 3)
    new, labels, _ = clouds(3, 600, 5)
    odds = softmax(outputs_of(module, new), 1)
    assert (odds.argmax(1) == labels).mean() > 0.8
    assert log_loss(labels, odds, sample_weight=(1 / np.bincount(labels))[labels]) < 0.45


@two_or_three_classes
def test_a_knn_heads_votes_are_those_of_the_nearest(classes: int) -> None:
    module, pipeline, known, _ = fitted("knn", classes)
    new = clouds(classes, 40, 2)[0]
    with torch.no_grad():
        class_weights = module[1].class_weights(module[0](torch.from_numpy(new).float())).double().numpy()
    np.testing.assert_allclose(
        class_weights / class_weights.sum(1, keepdims=True), pipeline.predict_proba(new), atol=1e-5
    )
    logits = np.log(class_weights / (classes * shares(known)) + 0.5)
    np.testing.assert_allclose(
        outputs_of(module, new), logits if classes > 2 else logits[:, 1:] - logits[:, :1], atol=1e-5
    )


def test_a_vote_is_one_at_the_usual_distance_to_the_nearest_other() -> None:
    _, pipeline, known, _ = fitted("knn", 2)
    module = fitted("knn", 2)[0]
    unit = pipeline[:-1].transform(known.vectors)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -1)
    assert module[1].usual.item() == pytest.approx(np.median(cosines.max(1)), abs=1e-5)
    assert module[1].temperature.item() == pytest.approx(pipeline["head"].weights.keywords["temperature"])


def test_an_image_near_to_nothing_known_is_undecided() -> None:
    class_weights = KnnHead(2, 2, 3)
    class_weights.load_state_dict(
        {
            "vectors": torch.tensor([[1.0, 0.0]] * 3 + [[0.0, 1.0]]),
            "classes": torch.tensor([[0.0, 1.0]] * 3 + [[1.0, 0.0]]),
            "counted": torch.ones(3),
            "usual": torch.tensor(0.95),
            "temperature": torch.tensor(0.05),
            "balance": torch.tensor([2.0, 2 / 3]),
        }
    )
    near, far = class_weights(torch.tensor([[1.0, 0.01], [-1.0, 0.0]]))
    assert near.item() > 1
    assert abs(far.item()) < 1e-6


@two_or_three_classes
def test_an_mlp_head_says_what_the_perceptron_says_of_equally_frequent_classes(classes: int) -> None:
    module, pipeline, known, _ = fitted("mlp", classes)
    new = clouds(classes, 40, 2)[0]
    expected, logits, share = pipeline.predict_proba(new), outputs_of(module, new), shares(known)
    if classes == 2:
        np.testing.assert_allclose(expit(logits[:, 0] + logit(share[1])), expected[:, 1], atol=1e-5)
    else:
        np.testing.assert_allclose(softmax(logits + np.log(share), 1), expected, atol=1e-5)


@every_head
def test_the_search_takes_the_best_settings_and_tells_them(kind: str) -> None:
    _, pipeline, _, chosen = fitted(kind, 2)
    made = head(kind)
    tried = made.tried(WIDTH)
    assert len(chosen) == len(tried) + 1
    for (name, values), position in zip(tried.items(), chosen, strict=False):
        found, listed = pipeline.get_params()[name], values[int(position)]
        assert getattr(found, "keywords", found) == getattr(listed, "keywords", listed)
    assert 0.6 < chosen[-1] < 1


@every_head
def test_no_patient_is_on_both_sides_of_a_fold_even_for_the_scaler(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels, patients = clouds(2, 120, 1)
    vectors[:, 0] = patients
    learned: dict[int, set[float]] = {}
    judged = []
    fit, transform = StandardScaler.fit, StandardScaler.transform

    def spying_fit(self: StandardScaler, X: np.ndarray, y: Any = None, sample_weight: Any = None) -> StandardScaler:
        learned[id(self)] = set(X[:, 0])
        kept.append(self)
        return fit(self, X, y, sample_weight)

    def spying_transform(self: StandardScaler, X: np.ndarray, copy: Any = None) -> np.ndarray:
        persons = set(X[:, 0])
        if persons != learned[id(self)] and len(learned[id(self)]) < 60:
            judged.append(persons & learned[id(self)])
        return transform(self, X, copy)

    kept: list[StandardScaler] = []
    monkeypatch.setattr(StandardScaler, "fit", spying_fit)
    monkeypatch.setattr(StandardScaler, "transform", spying_transform)
    known = Known(vectors, labels, patient_folds(labels, patients, 3, 7))
    made = head(kind)
    fit_head(made, made.fresh(WIDTH, 2), known, 7, 1)
    assert len(judged) >= 3
    assert not any(judged)


def test_folds_have_all_patients_once_and_depend_on_the_seed() -> None:
    _, labels, patients = clouds(3, 120, 1)
    folds = patient_folds(labels, patients, 4, 7)
    assert sorted(np.concatenate([judge for _, judge in folds])) == list(range(120))
    for learn, judge in folds:
        assert not set(patients[learn]) & set(patients[judge])
        assert set(labels[judge]) == {0, 1, 2}
    again, other = patient_folds(labels, patients, 4, 7), patient_folds(labels, patients, 4, 8)
    assert all((a[1] == b[1]).all() for a, b in zip(folds, again, strict=True))
    assert any(len(a[1]) != len(b[1]) or (a[1] != b[1]).any() for a, b in zip(folds, other, strict=True))


def test_too_few_patients_for_the_folds_are_a_sentence() -> None:
    labels, patients = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 2, 3, 4, 5, 5])
    with pytest.raises(MedscreenError, match=r"has 1\. Lower folds") as error:
        patient_folds(labels, patients, 2, 7)
    one_sentence(error)


def test_more_neighbors_than_a_fold_has_images_are_a_sentence() -> None:
    vectors, labels, patients = clouds(2, 12, 1)
    known = Known(vectors, labels, patient_folds(labels, patients, 3, 7))
    with pytest.raises(MedscreenError, match=r"params\.yaml") as error:
        fit_head(head("knn"), head("knn").fresh(WIDTH, 2), known, 7, 1)
    assert not unstated(one_sentence(error), "neighbors", "9", "fold", "8")


@every_head
def test_a_filled_head_can_be_loaded_into_a_fresh_one(kind: str) -> None:
    module = fitted(kind, 3)[0]
    fresh = head(kind).fresh(WIDTH, 3)
    fresh.load_state_dict(module.state_dict())
    new = clouds(3, 40, 2)[0]
    np.testing.assert_array_equal(outputs_of(fresh, new), outputs_of(module, new))


def test_a_sized_module_takes_the_shapes_of_a_state_below_a_prefix() -> None:
    whole = nn.Sequential(nn.Linear(2, 2), SvmHead(2, 1))
    assert isinstance(whole[1], DynamicBuffers)
    state = whole.state_dict() | {"1.vectors": torch.rand(5, 2), "1.weights": torch.rand(5, 1)}
    whole.load_state_dict(state)
    assert torch.equal(whole[1].vectors, state["1.vectors"])
    del state["1.vectors"]
    with pytest.raises(RuntimeError, match=r"Missing key.*1\.vectors"):
        whole.load_state_dict(state)


@pytest.mark.parametrize(("height", "width", "grid"), [(7, 7, 2), (5, 9, 3), (1, 1, 2), (6, 6, 3), (4, 4, 1)])
def test_cell_means_are_adaptive_average_pooling(height: int, width: int, grid: int) -> None:
    features = torch.rand(2, 3, height, width)
    expected = nn.functional.adaptive_avg_pool2d(features, grid).flatten(1)
    torch.testing.assert_close(cell_means(features, grid), expected)


def test_an_embedding_is_its_depths_side_by_side() -> None:
    backbone = ResidualClassifier(2, 2, "mean", 2).eval()
    images = torch.rand(3, 1, 13, 13)
    with torch.no_grad():
        maps = backbone.maps(images, 3)
        found = Embedding(backbone, [3, 1], 2)(images)
        whole: Tensor = backbone.maps(images)[-1]
    expected = [nn.functional.adaptive_avg_pool2d(maps[i], 2).flatten(1) for i in (0, 2)]
    torch.testing.assert_close(found, torch.cat(expected, 1))
    assert found.shape == (3, Embedding(backbone, [3, 1], 2).width) == (3, 4 * (2 + 8))
    assert [m.shape[1] for m in maps] == backbone.widths
    assert torch.equal(whole, maps[-1])


def detector(**others: Any) -> Any:
    training = {
        "epochs": 1,
        "batch_size": 16,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.001,
        "ema_decay": 0.0,
        "patience": 1,
    }
    settings = {
        "kind": "embedding", "findings": [], "depths": [1], "grid": 1, "folds": 2,
        "backbone": {"kind": "own", "width": 2, "unshuffle": 2, "training": training},
        "head": {"kind": "logistic", "inverse_penalty": [0.1]}, **others,
    }  # fmt: skip
    return build(TypeAdapter(DetectorParams).validate_python(settings), 20, ComputeParams(threads=1, device="cpu"), 7)


def test_one_class_alone_is_a_sentence() -> None:
    healthy = image_set(24, 20, 1).healthy()
    with pytest.raises(MedscreenError, match=r"train: .* 'abnormal'") as error:
        detector().fit(healthy, healthy)
    one_sentence(error)


def test_stages_that_nobody_asks_are_not_kept() -> None:
    public = {"kind": "public", "name": "efficientnet_lite0", "weights": "none", "channels": "sum", "side": 32}
    assert len(detector(backbone=public, depths=[2, 1]).network.classifier.embedding.backbone.stages) == 2


def test_the_same_patients_twice_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector hands its patients to the search: with one a class, there is nothing to fold."""
    images = image_set(24, 20, 1)
    two = ImageSet(images.pixels, images.labels, images.labels, images.origins, images.digests, images.attributes)
    with pytest.raises(MedscreenError, match="the rarest class has 1"):
        detector().fit(two, images)


def test_what_the_search_chose_is_in_the_state() -> None:
    made = detector(head={"kind": "knn", "neighbors": [3, 4], "temperature": [0.1]}).fit(
        image_set(48, 20, 1), image_set(20, 20, 2)
    )
    chosen = made.network.state_dict()["classifier.chosen"]
    assert chosen.shape == (3,)
    assert 0.5 < chosen[-1] <= 1
    counted = made.network.state_dict()["classifier.head.1.counted"]
    assert counted.sum() == [3, 4][int(chosen[0])]
    assert np.isfinite(score(made, image_set(5, 20, 3).pixels)).all()


def test_a_backbone_of_its_own_learns_from_changed_images_and_classes_that_weigh_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(embeddings, "fit_network", lambda *a: asked.append(a))
    images = image_set(48, 20, 1)
    labels = (np.arange(48) >= 36).astype(np.int64)
    few = ImageSet(images.pixels, labels, images.patients, images.origins, images.digests, images.attributes)
    detector().fit(few, few)
    ((backbone, loss, train, tune, recipe, _),) = asked
    assert recipe.seed == 7
    assert (len(train.images), len(tune.images)) == (48, 48)
    assert not torch.equal(recipe.augment(train.images), train.images)
    with torch.no_grad():
        expected = F.cross_entropy(backbone(train.images), train.labels, torch.tensor([48 / 72, 48 / 24]))
        torch.testing.assert_close(loss(train.images, train.labels)["loss"], expected)
