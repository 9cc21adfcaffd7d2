from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from factories import image_set, one_sentence
from medscreen.detectors import Detector, build, score
from medscreen.detectors.export import export_network
from medscreen.errors import MedscreenError
from medscreen.images import ImageSet
from medscreen.packaging.detector import PackagedDetector
from medscreen.packaging.scoring import scoring_graph
from medscreen.params import ComputeParams, DetectorParams

SIZE = 20
COMPUTE = ComputeParams(threads=1, device="cpu")
TRAINING = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.001, "patience": 2}
RESNET = {"name": "resnet18", "weights": "none", "channels": "sum", "side": 32}
LITE = {"name": "efficientnet_lite0", "weights": "none", "channels": "repeat", "side": 32}
TINY: dict[str, dict[str, Any]] = {
    "gradient": {},
    "autoencoder": {"width": 3, "bottleneck": 4, "top": 0.1, "training": TRAINING},
    "cnn": {"width": 3, "unshuffle": 2, "findings": [], "training": TRAINING},
    "cnn of findings": {"kind": "cnn", "width": 3, "unshuffle": 2, "findings": ["spot", "stain"], "training": TRAINING},
    "novelty by pyramid": {
        "kind": "novelty",
        "features": {"kind": "pyramid", "levels": 3, "grid": 4},
        "distance": {"kind": "mahalanobis"},
    },
    "novelty by hog": {
        "kind": "novelty",
        "features": {"kind": "hog", "cells": 4, "bins": 6, "block": 2, "signed": True},
        "distance": {"kind": "knn", "neighbours": 3, "most": 100},
    },
    "padim": {"backbone": RESNET, "depths": [1, 2], "grid": 4, "features": 12, "top": 0.2},
    "patchcore": {
        "backbone": LITE,
        "depths": [1, 2],
        "grid": 4,
        "neighbourhood": 3,
        "share": 0.2,
        "most": 40,
        "top": 0.2,
    },
}
TRAINED = [kind for kind, params in TINY.items() if "training" in params]
ONE_CLASS = ("gradient", "autoencoder", "novelty by pyramid", "novelty by hog", "padim", "patchcore")
EPOCHS_TO_SEE_ANOMALIES = dict.fromkeys(TINY, 0) | {"autoencoder": 30, "cnn": 20, "cnn of findings": 20}

every_kind = pytest.mark.parametrize("kind", TINY)
every_trained_kind = pytest.mark.parametrize("kind", TRAINED)


def built(kind: str, seed: int = 7, **training: Any) -> Detector:
    settings = {"kind": kind, **TINY[kind]}
    if kind in TRAINED:
        settings["training"] = TRAINING | training
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(settings)
    return build(params, SIZE, COMPUTE, seed)


def read_only(images: ImageSet) -> ImageSet:
    """As memory-mapped pixels are."""
    images.pixels.setflags(write=False)
    return images


TRAIN, TUNE, FRESH = (read_only(image_set(number, SIZE, seed)) for number, seed in ((66, 1), (20, 2), (50, 3)))
OTHER = read_only(ImageSet(TRAIN.pixels // 2, TRAIN.labels, TRAIN.patients, TRAIN.origins, TRAIN.digests, TRAIN.traits))
_FITTED: dict[str, Detector] = {}


@pytest.fixture
def fitted(kind: str) -> Detector:
    """One fit for all tests that only look at it."""
    if kind not in _FITTED:
        _FITTED[kind] = built(kind).fit(TRAIN, TUNE)
    return _FITTED[kind]


def test_every_kind_is_held_to_the_contract() -> None:
    union = get_args(get_args(DetectorParams)[0])
    kinds = {get_args(member.model_fields["kind"].annotation)[0] for member in union}
    assert kinds == {params.get("kind", name) for name, params in TINY.items()}
    assert set(EPOCHS_TO_SEE_ANOMALIES) == set(TINY)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal up to the rounding of 32-bit sums taken in another order, which grows with the scores."""
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


@every_kind
@pytest.mark.parametrize("number", [1, 50])
def test_scores_are_one_finite_float32_an_image(fitted: Detector, number: int) -> None:
    scores = score(fitted, FRESH.pixels[:number])
    assert scores.shape == (number,)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@every_kind
def test_scores_tell_images_apart(fitted: Detector) -> None:
    assert len(np.unique(score(fitted, FRESH.pixels))) > 40


@every_kind
def test_extreme_images_get_finite_scores(fitted: Detector) -> None:
    extremes = np.zeros((4, SIZE, SIZE), np.uint8)
    extremes[1], extremes[2], extremes[3, ::2] = 255, 128, 255
    assert np.isfinite(score(fitted, extremes)).all()


@every_kind
def test_more_images_than_a_batch_are_scored_in_order(fitted: Detector) -> None:
    many = np.tile(FRESH.pixels, (11, 1, 1))
    close(score(fitted, many).reshape(11, 50), np.tile(score(fitted, FRESH.pixels), (11, 1)))


@every_kind
def test_fit_returns_the_detector_itself(kind: str) -> None:
    detector = built(kind)
    assert detector.fit(TRAIN, TUNE) is detector


@every_kind
def test_one_seed_gives_one_result_bit_for_bit(kind: str, fitted: Detector) -> None:
    torch.manual_seed(999)
    again = built(kind)
    torch.rand(17)
    np.random.default_rng().random()
    again.fit(TRAIN, TUNE)
    for name, value in fitted.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value), name
    np.testing.assert_array_equal(score(again, FRESH.pixels), score(fitted, FRESH.pixels))


@every_trained_kind
def test_another_seed_gives_another_result(kind: str, fitted: Detector) -> None:
    other = built(kind, seed=8).fit(TRAIN, TUNE)
    assert np.abs(score(other, FRESH.pixels) - score(fitted, FRESH.pixels)).max() > 1e-4


@every_kind
def test_scoring_twice_gives_the_same_scores(fitted: Detector) -> None:
    np.testing.assert_array_equal(score(fitted, FRESH.pixels), score(fitted, FRESH.pixels))


@every_kind
def test_an_images_score_does_not_depend_on_its_company(fitted: Detector) -> None:
    together = score(fitted, FRESH.pixels)
    alone = np.concatenate([score(fitted, FRESH.pixels[i : i + 1]) for i in range(50)])
    close(alone, together)
    order = np.random.default_rng(1).permutation(50)
    close(score(fitted, FRESH.pixels[order]), together[order])


@every_kind
def test_the_state_is_all_that_was_learned(kind: str, fitted: Detector, tmp_path: Path) -> None:
    state = {name: value.contiguous() for name, value in fitted.network.state_dict().items()}
    assert state
    save_file(state, tmp_path / "state.safetensors")
    fresh = built(kind, seed=99)
    assert not np.allclose(score(fresh, FRESH.pixels), score(fitted, FRESH.pixels), atol=1e-6)
    fresh.network.load_state_dict(load_file(tmp_path / "state.safetensors"))
    np.testing.assert_array_equal(score(fresh, FRESH.pixels), score(fitted, FRESH.pixels))
    assert fresh.score_at_half == fitted.score_at_half


@every_kind
def test_the_exported_graph_gives_the_same_scores(fitted: Detector) -> None:
    graph = scoring_graph(export_network(fitted, SIZE), SIZE)
    packaged = PackagedDetector(graph.SerializeToString())
    expected = score(fitted, FRESH.pixels)
    for number in (1, 2, 7, 50):
        close(packaged.score(FRESH.pixels[:number]), expected[:number])


@every_kind
def test_the_same_network_gives_the_same_graph_and_no_source_lines(fitted: Detector) -> None:
    first, second = (export_network(fitted, SIZE).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert b".py" not in first


@every_kind
def test_planted_anomalies_score_higher(kind: str) -> None:
    epochs = EPOCHS_TO_SEE_ANOMALIES[kind]
    detector = built(kind, epochs=epochs, patience=epochs).fit(TRAIN, TUNE)
    scores = score(detector, FRESH.pixels)
    healthy, abnormal = scores[FRESH.labels == 0], scores[FRESH.labels == 1]
    assert (abnormal[:, None] > healthy).mean() > 0.9
    if detector.score_at_half is not None:
        assert ((scores >= detector.score_at_half) == (FRESH.labels == 1)).mean() > 0.85


@every_kind
def test_a_second_fit_forgets_the_first(kind: str) -> None:
    twice = built(kind).fit(OTHER, TUNE).fit(TRAIN, TUNE)
    once = built(kind).fit(TRAIN, TUNE)
    np.testing.assert_array_equal(score(twice, FRESH.pixels), score(once, FRESH.pixels))
    assert np.abs(score(built(kind).fit(OTHER, TUNE), FRESH.pixels) - score(once, FRESH.pixels)).max() > 1e-6


@pytest.mark.parametrize("kind", ONE_CLASS)
def test_one_class_detectors_ignore_abnormal_images(kind: str, fitted: Detector) -> None:
    ignoring = built(kind).fit(TRAIN.healthy(), TUNE.healthy())
    np.testing.assert_array_equal(score(ignoring, FRESH.pixels), score(fitted, FRESH.pixels))


@every_kind
def test_every_detector_learns_which_images_are_healthy(kind: str, fitted: Detector) -> None:
    swapped_findings = {"finding": [("spot", "none", "stain", "none")[i % 4] for i in range(len(TRAIN))]}
    swapped = ImageSet(TRAIN.pixels, 1 - TRAIN.labels, TRAIN.patients, TRAIN.origins, TRAIN.digests, swapped_findings)
    other = built(kind).fit(swapped, TUNE)
    assert np.abs(score(other, FRESH.pixels) - score(fitted, FRESH.pixels)).max() > 1e-3


@every_kind
def test_learning_leaves_the_images_alone(kind: str) -> None:
    before = [images.pixels.copy() for images in (TRAIN, TUNE)]
    built(kind).fit(TRAIN, TUNE)
    for images, pixels in zip((TRAIN, TUNE), before, strict=True):
        np.testing.assert_array_equal(images.pixels, pixels)


@every_kind
def test_every_epoch_is_reported_with_its_loss(kind: str) -> None:
    reported: list[tuple[int, dict[str, float]]] = []

    def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
        reported.append((epoch, dict(terms)))

    built(kind, epochs=3, patience=3).fit(TRAIN, TUNE, on_epoch)
    assert [epoch for epoch, _ in reported] == ([1, 2, 3] if kind in TRAINED else [])
    for _, terms in reported:
        assert {"train_loss", "tune_loss"} <= set(terms)
        assert all(type(value) is float and np.isfinite(value) for value in terms.values())


@every_trained_kind
def test_watching_the_epochs_changes_nothing(kind: str, fitted: Detector) -> None:
    def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
        torch.manual_seed(epoch)
        torch.rand(5)

    watched = built(kind).fit(TRAIN, TUNE, on_epoch)
    np.testing.assert_array_equal(score(watched, FRESH.pixels), score(fitted, FRESH.pixels))


@every_trained_kind
def test_a_fitted_network_is_in_eval_mode(fitted: Detector) -> None:
    assert not any(module.training for module in fitted.network.modules())
    assert all(value.device.type == "cpu" for value in fitted.network.state_dict().values())


def test_findings_are_probabilities_and_the_score_their_odds() -> None:
    detector = built("cnn of findings").fit(TRAIN, TUNE)
    assert detector.findings == ("normal", "spot", "stain")
    packaged = PackagedDetector(scoring_graph(export_network(detector, SIZE), SIZE).SerializeToString())
    scores, findings = packaged._run(FRESH.pixels, ["score", "findings"])
    assert findings.shape == (50, 3)
    np.testing.assert_allclose(findings.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), 1 - findings[:, 0], atol=1e-5)
    close(scores, score(detector, FRESH.pixels))


@pytest.mark.parametrize(
    ("findings", "says"),
    [(["spot"], "has the finding 'stain'"), (["spot", "stain", "wart"], "has the finding 'wart'")],
)
def test_findings_that_are_not_those_of_the_data_are_a_sentence(findings: list[str], says: str) -> None:
    settings = {**TINY["cnn of findings"], "findings": findings}
    detector = build(TypeAdapter(DetectorParams).validate_python(settings), SIZE, COMPUTE, 7)
    with pytest.raises(MedscreenError, match=says) as error:
        detector.fit(TRAIN, TUNE)
    assert "params.yaml" in one_sentence(error)
