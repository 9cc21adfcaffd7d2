"""The domain check: its bound by simulation, and its graph against a plain calculation."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from scipy.fft import dctn

from factories import image_set
from medscreen.data.images import Pixels
from medscreen.operating.decision_nodes import package, scoring_part
from medscreen.operating.domain_check import with_domain_check
from medscreen.operating.domain_distance import LEVEL, conformal_threshold, guaranteed, learn_distance
from medscreen.operating.domain_nodes import STATISTICS, with_statistics
from medscreen.operating.operating_point import OperatingPoint
from medscreen.operating.probability_calibration import LogisticCurve
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph

SIZE = 20
POINT = OperatingPoint("youden", 0.5, 0.4, 0.6, (0.1, 0.2), "platt", LogisticCurve(1.0, 0.0))
TRAIN, TUNE, VAL, FRESH = (
    replace(image_set(number, SIZE, seed), patients=1000 * seed + np.arange(number))
    for number, seed in ((400, 1), (150, 2), (250, 3), (400, 4))
)


def linear_network(width: int, views: int = 1) -> onnx.ModelProto:
    """The scoring graph of a network whose last layer sees `width` numbers of each view of an image."""
    rng = np.random.default_rng(5)
    matrices = {"mix": rng.normal(0, 0.1, (SIZE**2, width)), "last": rng.normal(0, 1, (width, 1))}
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Mul", ["flat", "shade"], ["other_view"]),
        helper.make_node("Concat", ["flat", "other_view"] if views == 2 else ["flat"], ["seen"], axis=0),
        helper.make_node("MatMul", ["seen", "mix"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["features"]),
        helper.make_node("MatMul", ["features", "last"], ["logits"]),
        helper.make_node("Reshape", ["logits", "shape"], ["of_views"]),
        helper.make_node("ReduceMean", ["of_views", "first"], ["score"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [
            *(onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in matrices.items()),
            helper.make_tensor("shape", TensorProto.INT64, [2], [views, -1]),
            helper.make_tensor("first", TensorProto.INT64, [1], [0]),
            helper.make_tensor("shade", TensorProto.FLOAT, [1], [0.5]),
        ],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return scoring_graph(network, SIZE)


def features_of(pixels: Pixels, width: int, views: int) -> np.ndarray:
    mix = np.random.default_rng(5).normal(0, 0.1, (SIZE**2, width))
    flat = pixels.reshape(len(pixels), -1) / 255
    shades: tuple[float, ...] = (1.0, 0.5) if views == 2 else (1.0,)
    seen: np.ndarray = np.mean([np.tanh(shade * flat @ mix) for shade in shades], axis=0)
    return seen


def statistics_of(pixels: Pixels) -> np.ndarray:
    """What `with_statistics` computes, written plainly."""
    images = pixels.astype(np.float64) / 255
    rows = []
    for image in images:
        reached = [np.clip(8 * image - level, 0, 1).mean() for level in range(8)]
        waves = dctn(image, norm="ortho")
        octaves: dict[tuple[int, int], list[float]] = {}
        for i, row in enumerate(waves):
            for j, coefficient in enumerate(row):
                octaves.setdefault((i.bit_length(), j.bit_length()), []).append(coefficient**2)
        spectrum = [math.log(np.mean(octaves[key]) + 1e-6) for key in sorted(octaves)][1:]
        rows.append([*reached, *(waves[:8, :8] / len(image)).ravel(), *spectrum])
    return np.array(rows)


def checked(scoring: onnx.ModelProto, views: int = 1) -> tuple[PackagedDetector, onnx.ModelProto]:
    model, about, _ = with_domain_check(scoring, TRAIN, (TUNE, VAL), views, 1)
    packaged = package(model, POINT, {"detector": "linear", "image_size": SIZE, "domain": about})
    return PackagedDetector(packaged.SerializeToString()), packaged


@pytest.fixture(scope="module")
def detector() -> PackagedDetector:
    return checked(linear_network(12))[0]


def inside(detector: PackagedDetector, pixels: Pixels) -> np.ndarray:
    answered = detector.screen(pixels).in_domain
    assert answered is not None
    assert answered.shape == (len(pixels),)
    assert answered.dtype == np.bool_
    return answered


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 700), st.sampled_from([0.005, 0.01, 0.1]), st.integers(1, 4), st.integers(0, 10**6))
def test_at_most_the_level_of_exchangeable_images_is_outside(patients: int, level: float, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    repeats, fresh = 300, 200
    outside = 0
    for _ in range(repeats):
        # patients differ, and so do their numbers of images; heavy tails, as distances have
        owner = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
        distances = np.exp(rng.normal(0, 1, patients)[owner] + rng.normal(0, 0.5, len(owner)))
        new = np.exp(rng.normal(0, 1, fresh) + rng.normal(0, 0.5, fresh))
        outside += (new > conformal_threshold(distances, owner, level)).mean()
    bound = guaranteed(patients, level)
    # the share outside varies over calibrations about as the beta distribution of the threshold's rank does
    rank = max(1.0, math.floor(bound * (patients + 1)))
    error = math.sqrt((rank / (patients + 1) ** 2 + bound / fresh) / repeats)
    assert outside / repeats <= bound + 3 * error


@pytest.mark.parametrize(("patients", "bound"), [(1, 0.5), (20, 1 / 21), (98, 1 / 99), (99, 0.01), (999, 0.01)])
def test_too_few_patients_take_the_largest_distance_and_state_the_level(patients: int, bound: float) -> None:
    distances = np.random.default_rng(1).permutation(np.arange(1.0, patients + 1))
    threshold = conformal_threshold(distances, np.arange(patients), 0.01)
    above = int((distances > threshold).sum())
    assert above == max(0, math.floor(0.01 * (patients + 1)) - 1)
    assert guaranteed(patients, 0.01) == bound


def test_a_patient_of_many_images_counts_once() -> None:
    distances = np.concatenate([np.arange(1.0, 200), np.full(500, 1000.0)])
    patients = np.concatenate([np.arange(199), np.full(500, 199)])
    # 2 of 201 are outside: the patient of 500 images and the new one
    assert conformal_threshold(distances, patients, 0.01) == pytest.approx(199, rel=2e-3)


def test_the_distance_is_that_of_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(2, 1, (300, 6)) @ rng.normal(0, 1, (6, 6))
    distance = learn_distance(vectors)
    scaled = (vectors - distance.mean) / distance.spread
    covariance = scaled.T @ scaled / 300
    squares, trace = (covariance**2).sum(), np.trace(covariance)
    share = ((1 - 2 / 6) * squares + trace**2) / ((300 + 1 - 2 / 6) * (squares - trace**2 / 6))
    precision = np.linalg.inv((1 - share) * covariance + share * trace / 6 * np.eye(6))
    np.testing.assert_allclose(distance(vectors), ((scaled @ precision) * scaled).sum(1), rtol=1e-4)


@pytest.mark.parametrize(("number", "width"), [(300, 400), (40, 200), (3, 5), (2, 1), (50, 1)])
def test_wide_and_few_vectors_have_finite_distances(number: int, width: int) -> None:
    vectors = np.random.default_rng(4).normal(0, 1, (number, width))
    vectors[:, : width // 3] = 7  # columns that never vary
    distance = learn_distance(vectors)
    assert distance.axes.shape[1] <= 128
    assert (distance(vectors) >= 0).all()
    assert distance(vectors + 50).min() > distance(vectors).max()
    assert np.isfinite(distance(vectors + 50)).all()


@pytest.mark.parametrize("size", [1, 2, 5, 16, 20, 28, 64, 65])
def test_the_graphs_statistics_are_those_of_a_plain_calculation(size: int) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (5, size, size)).astype(np.uint8)
    pixels[:, 0, 0], pixels[0], pixels[1] = 9, 200, 2 + np.arange(size)
    network = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images", "axes"], ["score"], keepdims=0),
        ],
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, size, size])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    mean = helper.make_model(network, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = with_statistics(scoring_graph(mean, size), size)
    model.graph.output.append(helper.make_tensor_value_info(STATISTICS, TensorProto.FLOAT, None))
    found = PackagedDetector(model.SerializeToString())._run(pixels, [STATISTICS])[0]
    np.testing.assert_allclose(found, statistics_of(pixels), atol=1e-3)


@pytest.mark.parametrize("views", [1, 2])
def test_an_image_is_outside_where_statistics_or_features_are_too_far(views: int) -> None:
    detector, _ = checked(linear_network(12, views), views)
    shifted = (FRESH.pixels[:200] // np.array([1, 1, 2, 8])[np.arange(200) % 4, None, None]).astype(np.uint8)
    mixed = np.concatenate([FRESH.pixels, np.maximum(shifted, 2)])
    patients = np.concatenate([TUNE.patients, VAL.patients])
    calibrating = np.concatenate([TUNE.pixels, VAL.pixels])
    expected = np.ones(len(mixed), np.bool_)
    clear = np.ones(len(mixed), np.bool_)  # of the rounding of 32 bits
    for vectors in (statistics_of, lambda pixels: features_of(pixels, 12, views)):
        distance = learn_distance(vectors(TRAIN.pixels))
        threshold = conformal_threshold(distance(vectors(calibrating)), patients, LEVEL / 2)
        of_mixed = distance(vectors(mixed))
        expected &= of_mixed <= threshold
        clear &= np.abs(of_mixed / threshold - 1) > 0.01
    np.testing.assert_array_equal(inside(detector, mixed)[clear], expected[clear])
    assert 0 < expected.mean() < 1
    assert clear.mean() > 0.95


def test_images_like_the_training_images_are_inside(detector: PackagedDetector) -> None:
    assert inside(detector, FRESH.pixels).mean() > 0.97
    assert detector.metadata["domain"]["guaranteed"] == LEVEL
    assert detector.metadata["domain"]["calibrated_on"]["images"] == len(TUNE) + len(VAL)
    assert detector.metadata["domain"]["compares"] == ["image statistics", "features of the detector"]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "inverted": lambda pixels: 255 - pixels,
    "noise": lambda pixels: np.random.default_rng(1).integers(0, 256, pixels.shape).astype(np.uint8),
    "one grey": lambda pixels: np.full_like(pixels, 120),
    "white": lambda pixels: np.full_like(pixels, 255),
    "stripes": lambda pixels: np.tile(np.array([0, 255], np.uint8), (len(pixels), SIZE, SIZE // 2)),
    "one bright pixel": lambda pixels: np.where(np.arange(SIZE**2).reshape(SIZE, SIZE) == 30, 255, 0 * pixels),
}


@pytest.mark.parametrize("change", CHANGES)
def test_foreign_images_are_outside(detector: PackagedDetector, change: str) -> None:
    assert not inside(detector, CHANGES[change](FRESH.pixels[:40]).astype(np.uint8)).any()


def test_the_company_of_an_image_does_not_matter(detector: PackagedDetector) -> None:
    mixed = np.concatenate([FRESH.pixels[:30], 255 - FRESH.pixels[:30]])[np.random.default_rng(1).permutation(60)]
    together = inside(detector, mixed)
    alone = np.concatenate([inside(detector, mixed[i : i + 1]) for i in range(60)])
    np.testing.assert_array_equal(alone, together)
    assert 0 < together.sum() < 60


@pytest.mark.parametrize("factor", [2, 3])
def test_larger_images_are_judged_as_their_resized_selves(detector: PackagedDetector, factor: int) -> None:
    large = np.repeat(np.repeat(FRESH.pixels[:60], factor, 1), factor, 2)
    assert inside(detector, large).mean() > 0.9
    wide = np.random.default_rng(1).integers(0, 256, (9, 333, 57)).astype(np.uint8)
    assert not inside(detector, wide).any()


def test_another_operating_point_keeps_the_check() -> None:
    detector, packaged = checked(linear_network(12))
    scoring, metadata = scoring_part(packaged)
    moved = PackagedDetector(package(scoring, POINT, metadata).SerializeToString())
    np.testing.assert_array_equal(inside(moved, FRESH.pixels), inside(detector, FRESH.pixels))
    assert moved.metadata["domain"] == detector.metadata["domain"]


def test_features_that_are_too_wide_or_no_numbers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = linear_network(12)
    broken.graph.initializer[0].CopyFrom(
        onnx.numpy_helper.from_array(np.full((SIZE**2, 12), np.nan, np.float32), "mix")
    )
    assert checked(broken)[0].metadata["domain"]["compares"] == ["image statistics"]
    monkeypatch.setattr("medscreen.operating.domain_check._MOST_COLUMNS", 11)
    assert checked(linear_network(12))[0].metadata["domain"]["compares"] == ["image statistics"]


def test_a_distance_that_is_no_number_is_outside() -> None:
    _, packaged = checked(linear_network(12))
    for constant in packaged.graph.initializer:
        if constant.name.endswith("_rest"):
            constant.CopyFrom(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), constant.name))
    assert not inside(PackagedDetector(packaged.SerializeToString()), FRESH.pixels[:5]).any()


def test_few_images_state_the_level_that_they_reach() -> None:
    _, about, _ = with_domain_check(linear_network(12), TRAIN, (VAL.take(np.arange(30)),), 1, 1)
    assert about["level"] == LEVEL
    assert about["guaranteed"] == pytest.approx(2 / 31)


def test_a_package_of_before_has_no_check() -> None:
    packaged = package(linear_network(12), POINT, {"image_size": SIZE})
    detector = PackagedDetector(packaged.SerializeToString())
    assert detector.screen(FRESH.pixels[:3]).in_domain is None
    assert not detector.checks_domain
    assert detector.header_mismatch({"modality": "CT", "body part": ""}) == ""
    assert "domain" not in scoring_part(packaged)[1]
