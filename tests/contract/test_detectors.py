from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from factories import image_set, one_sentence
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import Detector, score
from medscreen.detectors.shared.onnx_export import export_network
from medscreen.errors import MedscreenError
from medscreen.operating.domain_check import with_domain_check
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph
from tiny_detectors import (
    CLASSIFIERS,
    EMBEDDINGS,
    ENSEMBLES,
    EPOCHS,
    LEAST_AUROC,
    OF_FINDINGS,
    ONE_CLASS,
    RECONSTRUCTION,
    TINY,
    TRAINED,
    kinds_of,
    tiny_detector,
)

SIZE = 20
COMPUTE = ComputeParams(threads=1, device="cpu")
every_kind = pytest.mark.parametrize("kind", TINY)
every_trained_kind = pytest.mark.parametrize("kind", TRAINED)


def built(kind: str, seed: int = 7, **training: Any) -> Detector:
    return tiny_detector(kind, SIZE, COMPUTE, seed, **training)


def read_only(images: ImageSet) -> ImageSet:
    """As memory-mapped pixels are."""
    images.pixels.setflags(write=False)
    return images


TRAIN, TUNE, FRESH = (read_only(image_set(number, SIZE, seed)) for number, seed in ((66, 1), (20, 2), (50, 3)))
OTHER = read_only(
    ImageSet(TRAIN.pixels // 2, TRAIN.labels, TRAIN.patients, TRAIN.origins, TRAIN.digests, TRAIN.attributes)
)
EXTREMES = np.zeros((257, SIZE, SIZE), np.uint8)  # stripes, one bright pixel, and every grey alone
EXTREMES[0, ::2], EXTREMES[1, 10, 10], EXTREMES[2, 0, 0] = 255, 255, 9
EXTREMES[3:] = np.arange(2, 256, dtype=np.uint8)[:, None, None]
WITH_FEATURES = {*CLASSIFIERS, *EMBEDDINGS, *ENSEMBLES, "novelty by pyramid", "novelty by hog"}
WITH_FEATURES |= {kind for kind, params in RECONSTRUCTION.items() if params["bottleneck"] is not None}


@pytest.fixture(scope="session")
def fitted_once() -> Callable[[str], Detector]:
    return cache(lambda kind: built(kind).fit(TRAIN, TUNE))


@pytest.fixture(scope="session")
def trained_once() -> Callable[[str], Detector]:
    return cache(lambda kind: for_long(kind).fit(TRAIN, TUNE))


@pytest.fixture(scope="session")
def exported_once(fitted_once: Callable[[str], Detector]) -> Callable[[str], onnx.ModelProto]:
    return cache(lambda kind: export_network(fitted_once(kind), SIZE))


@pytest.fixture
def fitted(kind: str, fitted_once: Callable[[str], Detector]) -> Detector:
    """One fit for all tests that only look at it."""
    return fitted_once(kind)


@pytest.fixture
def exported(kind: str, exported_once: Callable[[str], onnx.ModelProto]) -> onnx.ModelProto:
    """One export, which takes seconds, for all tests that only look at it."""
    return exported_once(kind)


@pytest.fixture
def trained(kind: str, trained_once: Callable[[str], Detector]) -> Detector:
    """One long fit for all tests that only look at it."""
    return trained_once(kind)


def for_long(kind: str) -> Detector:
    """Unfitted, with as many epochs as it takes to see anomalies: two hardly tell what a network has seen."""
    return built(kind, epochs=EPOCHS[kind], patience=EPOCHS[kind])


def test_every_kind_is_held_to_the_contract() -> None:
    assert set(kinds_of(DetectorParams)) == {(params["kind"], params.get("variant")) for params in TINY.values()}


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
    assert np.isfinite(score(fitted, EXTREMES)).all()
    assert np.isfinite(score(fitted, np.zeros((1, SIZE, SIZE), np.uint8))).all()


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
    assert fresh.decision_boundary == fitted.decision_boundary


@every_kind
def test_the_exported_graph_gives_the_same_scores(fitted: Detector, exported: onnx.ModelProto) -> None:
    packaged = PackagedDetector(scoring_graph(exported, SIZE).SerializeToString())
    expected = score(fitted, FRESH.pixels)
    for number in (1, 2, 7, 50):
        close(packaged.score(FRESH.pixels[:number]), expected[:number])
    np.testing.assert_allclose(packaged.score(EXTREMES), score(fitted, EXTREMES), rtol=2e-5, atol=2e-5)


@every_kind
def test_the_package_tells_foreign_images(kind: str, exported: onnx.ModelProto) -> None:
    views = TINY[kind].get("recipe", {}).get("tta", 1)
    scoring = scoring_graph(exported, SIZE)
    checked, about, values = with_domain_check(scoring, TRAIN, (TUNE, image_set(120, SIZE, 5)), views, 1)
    packaged = PackagedDetector(checked.SerializeToString())
    together = np.concatenate([FRESH.pixels, EXTREMES])
    (inside,) = packaged._run(together, ["in_domain"])
    assert inside.dtype == np.bool_
    assert inside[:50].mean() > 0.9
    assert not inside[50:].any()
    alone = [packaged._run(together[i : i + 1], ["in_domain"])[0][0] for i in range(0, len(together), 3)]
    np.testing.assert_array_equal(alone, inside[::3])
    np.testing.assert_array_equal(
        packaged.score(FRESH.pixels), PackagedDetector(scoring.SerializeToString()).score(FRESH.pixels)
    )
    assert ("features of the detector" in about["compares"]) == (kind in WITH_FEATURES), kind
    np.testing.assert_array_equal(values[1]["score"], packaged.score(TUNE.pixels))  # measured once, served the same


@every_kind
def test_the_same_network_gives_the_same_graph_and_no_source_lines(fitted: Detector, exported: onnx.ModelProto) -> None:
    first, second = (graph.SerializeToString(deterministic=True) for graph in (exported, export_network(fitted, SIZE)))
    assert first == second
    assert b".py" not in first


@every_kind
def test_planted_anomalies_score_higher(kind: str, trained: Detector) -> None:
    detector = trained
    scores = score(detector, FRESH.pixels)
    healthy, abnormal = scores[FRESH.labels == 0], scores[FRESH.labels == 1]
    assert (abnormal[:, None] > healthy).mean() > LEAST_AUROC.get(kind, 0.9)
    if detector.decision_boundary is not None:
        assert ((scores >= detector.decision_boundary) == (FRESH.labels == 1)).mean() > 0.85


@every_kind
def test_a_second_fit_forgets_the_first(kind: str, fitted: Detector) -> None:
    detector = built(kind).fit(OTHER, TUNE)
    first = score(detector, FRESH.pixels)
    detector.fit(TRAIN, TUNE)
    once = score(fitted, FRESH.pixels)
    np.testing.assert_array_equal(score(detector, FRESH.pixels), once)
    assert np.abs(first - once).max() > 1e-6


@pytest.mark.parametrize("kind", ONE_CLASS)
def test_one_class_detectors_ignore_abnormal_images(kind: str, fitted: Detector) -> None:
    ignoring = built(kind).fit(TRAIN.healthy(), TUNE.healthy())
    np.testing.assert_array_equal(score(ignoring, FRESH.pixels), score(fitted, FRESH.pixels))


@every_kind
def test_every_detector_learns_which_images_are_healthy(kind: str, trained: Detector) -> None:
    swapped_findings = {"finding": [("spot", "none", "stain", "none")[i % 4] for i in range(len(TRAIN))]}
    swapped = ImageSet(TRAIN.pixels, 1 - TRAIN.labels, TRAIN.patients, TRAIN.origins, TRAIN.digests, swapped_findings)
    other = for_long(kind).fit(swapped, TUNE)
    assert np.abs(score(trained, FRESH.pixels) - score(other, FRESH.pixels)).max() > 1e-3


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


@pytest.mark.parametrize("kind", OF_FINDINGS)
def test_findings_are_probabilities_and_the_score_their_odds(fitted: Detector, exported: onnx.ModelProto) -> None:
    detector = fitted
    assert detector.findings == ("normal", "spot", "stain")
    packaged = PackagedDetector(scoring_graph(exported, SIZE).SerializeToString())
    scores, findings = packaged._run(FRESH.pixels, ["score", "findings"])
    assert findings.shape == (50, 3)
    np.testing.assert_allclose(findings.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), 1 - findings[:, 0], atol=1e-5)
    close(scores, score(detector, FRESH.pixels))


@pytest.mark.parametrize(
    ("findings", "says"),
    [(["spot"], "lack 'stain'"), (["spot", "stain", "wart"], "of the class 'wart'")],
)
@pytest.mark.parametrize("kind", OF_FINDINGS)
def test_findings_that_are_not_those_of_the_data_are_a_sentence(kind: str, findings: list[str], says: str) -> None:
    settings = {**TINY[kind], "findings": findings}
    detector = build(TypeAdapter(DetectorParams).validate_python(settings), SIZE, COMPUTE, 7)
    with pytest.raises(MedscreenError, match=says) as error:
        detector.fit(TRAIN, TUNE)
    assert "params.yaml" in one_sentence(error)
