import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from factories import one_sentence, p_values
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.images import Pixels
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import package, scoring_part
from medscreen.operating.operating_point import OperatingPoint
from medscreen.operating.probability_calibration import LogisticCurve, SteppedCurve
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.packaging.scoring_graph import scoring_graph

SIZE = 16
METADATA = {"detector": "mean", "image_size": SIZE, "decision_boundary": None, "note": "Größe"}


def network(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def mean_network() -> onnx.ModelProto:
    return network(helper.make_node("ReduceMean", ["images", "axes"], ["score"], keepdims=0))


def pixels(number: int, height: int = SIZE, width: int = SIZE, seed: int = 1) -> Pixels:
    rng = np.random.default_rng(seed)
    bright = rng.integers(30, 256, (number, 1, 1))
    return (rng.random((number, height, width)) * bright).astype(np.uint8)


@pytest.fixture(scope="module")
def scoring() -> onnx.ModelProto:
    return scoring_graph(mean_network(), SIZE)


@pytest.fixture(scope="module")
def point(scoring: onnx.ModelProto) -> OperatingPoint:
    healthy = np.sort(PackagedDetector(scoring.SerializeToString()).score(pixels(41, seed=2)))
    low, middle, high = (float(np.quantile(healthy, share)) for share in (0.3, 0.5, 0.8))
    curve = LogisticCurve(12.5, -3.25)
    return OperatingPoint("youden", middle, low, high, tuple(map(float, healthy)), "platt", curve)


@pytest.fixture(scope="module")
def packaged(scoring: onnx.ModelProto, point: OperatingPoint) -> PackagedDetector:
    return PackagedDetector(package(scoring, point, METADATA).SerializeToString())


def test_a_scoring_graph_scores_uint8_images(scoring: onnx.ModelProto) -> None:
    images = pixels(5)
    scores = PackagedDetector(scoring.SerializeToString()).score(images)
    np.testing.assert_allclose(scores, images.mean(axis=(1, 2)) / 255, rtol=1e-5)
    assert scores.dtype == np.float32


def test_outputs_are_those_of_the_operating_point(packaged: PackagedDetector, point: OperatingPoint) -> None:
    images = np.concatenate([pixels(50, seed=3), pixels(41, seed=2)])
    screening = packaged.screen(images)
    scores = screening.score.astype(np.float64)
    np.testing.assert_array_equal(screening.abnormal, screening.score >= np.float32(point.threshold))
    assert 0 < screening.abnormal.sum() < len(images)
    np.testing.assert_allclose(screening.p_value, p_values(scores, np.array(point.healthy_scores)), rtol=1e-6)
    np.testing.assert_array_equal(screening.deferred, (scores >= point.defer_from) & (scores < point.defer_to))
    assert 0 < screening.deferred.sum() < len(images)
    expected = 1 / (1 + np.exp(-(12.5 * scores - 3.25)))
    np.testing.assert_allclose(screening.probability, expected, atol=1e-6)
    assert screening.abnormal.dtype == np.bool_


def test_healthy_images_meet_their_own_scores(packaged: PackagedDetector) -> None:
    ranked = np.sort(packaged.screen(pixels(41, seed=2)).p_value)
    np.testing.assert_allclose(ranked, np.arange(2, 43) / 42, rtol=1e-6)


@pytest.mark.parametrize("number", [1, 7, 256, 300])
def test_any_batch_gives_the_same_answers(packaged: PackagedDetector, number: int) -> None:
    images = pixels(300)
    whole, part = packaged.screen(images), packaged.screen(images[-number:])
    for name in ("score", "p_value", "probability", "abnormal"):
        assert getattr(part, name).shape == (number,)
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[-number:], rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (16, 31), (200, 16), (333, 257)])
def test_any_height_and_width_is_screened(packaged: PackagedDetector, shape: tuple[int, int]) -> None:
    images = np.maximum(pixels(3, *shape), 2)
    assert np.isfinite(packaged.screen(images).score).all()


@pytest.mark.parametrize("side", [8, 17, 28, 64, 224])
def test_resizing_agrees_with_pillow(side: int) -> None:
    flat = network(
        helper.make_node("Constant", [], ["picked"], value_ints=[5]),
        helper.make_node("Gather", ["images", "picked"], ["row"], axis=2),
        helper.make_node("Constant", [], ["column"], value_ints=[11]),
        helper.make_node("Gather", ["row", "column"], ["pixel"], axis=3),
        helper.make_node("ReduceMean", ["pixel", "axes"], ["score"], keepdims=0),
    )
    images = pixels(20, side, side)
    one_pixel = PackagedDetector(scoring_graph(flat, SIZE).SerializeToString()).score(images) * 255
    expected = [
        np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))[5, 11] for image in images
    ]
    np.testing.assert_allclose(one_pixel, expected, atol=1.01)
    assert np.std(expected) > 5


def test_an_image_of_the_networks_size_is_not_resized(scoring: onnx.ModelProto) -> None:
    checkerboard = np.indices((1, SIZE, SIZE)).sum(axis=0).astype(np.uint8) % 2 * 255
    brightest = network(helper.make_node("ReduceMax", ["images", "axes"], ["score"], keepdims=0))
    darkest = network(helper.make_node("ReduceMin", ["images", "axes"], ["score"], keepdims=0))
    ends = [
        PackagedDetector(scoring_graph(n, SIZE).SerializeToString()).score(checkerboard)[0]
        for n in (darkest, brightest)
    ]
    assert ends == [0.0, 1.0]


@pytest.mark.parametrize("position", [0, 3, 299])
def test_floats_cast_to_uint8_are_refused(packaged: PackagedDetector, position: int) -> None:
    images = pixels(300)
    images[position] = np.random.default_rng(1).random((SIZE, SIZE)).astype(np.uint8)
    with pytest.raises(MedscreenError, match="no gray level above 1") as error:
        packaged.screen(images)
    one_sentence(error)
    images[position, 0, 0] = 1
    with pytest.raises(MedscreenError, match="no gray level above 1"):
        packaged.score(images)
    images[position, 0, 0] = 2
    packaged.screen(images)


def test_the_bare_graph_names_its_reason_too(scoring: onnx.ModelProto) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(scoring.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match="no_grey_level_above_1_give_uint8_images"):
        session.run(["score"], {"pixels": np.zeros((2, 1, SIZE, SIZE), np.uint8)})


@pytest.mark.parametrize(
    "wrong",
    [
        np.full((2, SIZE, SIZE), 0.5, np.float32),
        np.full((2, SIZE, SIZE), 9, np.int64),
        np.full((2, SIZE, SIZE), 900, np.uint16),
        np.full((SIZE, SIZE), 9, np.uint8),
        np.full((2, 1, SIZE, SIZE), 9, np.uint8),
        np.zeros((0, SIZE, SIZE), np.uint8),
        np.zeros((2, 0, SIZE), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_other_arrays_are_refused(packaged: PackagedDetector, wrong: Any) -> None:
    with pytest.raises(MedscreenError) as error:
        packaged.screen(wrong)
    assert str(wrong.dtype) in one_sentence(error)


def test_images_need_not_be_contiguous(packaged: PackagedDetector) -> None:
    images = pixels(6, 20, 20)
    views = images[::2, ::-1, :]
    np.testing.assert_array_equal(packaged.score(views), packaged.score(views.copy()))


def test_the_same_input_gives_the_same_bytes(point: OperatingPoint, tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        onnx.save(package(scoring_graph(mean_network(), SIZE), point, METADATA), tmp_path / name)
        digests.append(packaged_digest(tmp_path / name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert digests[0] == digests[1]
    assert len(digests[0]) == 32


@pytest.mark.parametrize(
    "changed",
    [
        {"threshold": 0.123},
        {"defer_from": 0.1},
        {"defer_to": 0.9},
        {"curve": LogisticCurve(1.0, -3.25)},
        {"curve": LogisticCurve(12.5, 1.0)},
        {"curve": SteppedCurve((0.1, 0.9), (0.0, 1.0))},
        {"policy": "mean_sd"},
        {"healthy_scores": (0.1, 0.2)},
    ],
)
def test_another_operating_point_is_another_detector(
    scoring: onnx.ModelProto, point: OperatingPoint, tmp_path: Path, changed: dict[str, Any]
) -> None:
    onnx.save(package(scoring, point, METADATA), tmp_path / "a")
    onnx.save(package(scoring, replace(point, **changed), METADATA), tmp_path / "b")
    assert packaged_digest(tmp_path / "a") != packaged_digest(tmp_path / "b")


def test_packaging_leaves_its_input_as_it_was(scoring: onnx.ModelProto, point: OperatingPoint) -> None:
    before = scoring.SerializeToString(deterministic=True)
    package(scoring, point, METADATA)
    assert scoring.SerializeToString(deterministic=True) == before
    tiny = mean_network()
    before = tiny.SerializeToString(deterministic=True)
    scoring_graph(tiny, SIZE)
    assert tiny.SerializeToString(deterministic=True) == before


def test_metadata_comes_back(packaged: PackagedDetector, point: OperatingPoint) -> None:
    described = packaged.metadata["operating_point"]
    assert described == {
        "policy": "youden",
        "threshold": point.threshold,
        "defer_from": point.defer_from,
        "defer_to": point.defer_to,
        "healthy_scores": 41,
        "calibration": "platt",
        "curve": {"slope": 12.5, "intercept": -3.25},
    }
    assert {key: packaged.metadata[key] for key in METADATA} == METADATA
    assert packaged.image_size == SIZE
    assert packaged.display == FILE_DISPLAY  # of a package that says nothing of it
    json.dumps(packaged.metadata)


def test_a_detector_is_loaded_from_a_file(scoring: onnx.ModelProto, point: OperatingPoint, tmp_path: Path) -> None:
    path = tmp_path / "detector.onnx"
    onnx.save(package(scoring, point, METADATA), path)
    images = pixels(4)
    expected = PackagedDetector(path.read_bytes()).screen(images)
    np.testing.assert_array_equal(PackagedDetector(path, threads=2).screen(images).score, expected.score)


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_file_that_is_no_graph_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "detector.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MedscreenError, match="can't be loaded") as error:
        PackagedDetector(path)
    assert "\n" not in str(error.value)


def endless() -> onnx.GraphProto:
    """The body of a loop that goes on as long as it is told to, and is always told to."""
    boolean = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "on")]
    turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
    return helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", [turn, boolean[0]], [boolean[1]])


@pytest.mark.parametrize("where", ["graph", "branch", "function"])
def test_a_graph_with_a_loop_is_refused_before_it_runs(where: str, tmp_path: Path) -> None:
    loop = helper.make_node("Loop", ["", "always"], [], body=endless())
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    model = scoring_graph(mean_network(), SIZE)
    if where == "graph":
        model.graph.node.append(loop)
    elif where == "branch":
        inside = helper.make_graph([loop], "inside", [], [])
        model.graph.node.append(helper.make_node("If", ["always"], [], then_branch=inside, else_branch=inside))
    else:
        opset = helper.make_opsetid("", 20)
        model.functions.append(helper.make_function("own", "endless", ["always"], [], [loop], [opset]))
        model.opset_import.append(helper.make_opsetid("own", 1))
        model.graph.node.append(helper.make_node("endless", ["always"], [], domain="own"))
    model.graph.initializer.append(always)
    path = tmp_path / "detector.onnx"
    path.write_bytes(model.SerializeToString())
    for source in (path, model.SerializeToString()):
        with pytest.raises(MedscreenError, match="has control flow") as error:
            PackagedDetector(source)
        one_sentence(error)


@pytest.mark.parametrize(
    "metadata", ["{", "[1]", "{}", '{"image_size": "wide"}', '{"image_size": 16, "display": {"x": 1}}']
)
def test_metadata_that_are_not_a_package_s_are_a_sentence(scoring: onnx.ModelProto, metadata: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(scoring)
    helper.set_model_props(model, {"medscreen": metadata})
    with pytest.raises(MedscreenError, match="is not a packaged detector of medscreen") as error:
        detector = PackagedDetector(model.SerializeToString())
        assert detector.image_size
        assert detector.display
    one_sentence(error)


def test_a_graph_without_an_operating_point_screens_nothing(scoring: onnx.ModelProto) -> None:
    detector = PackagedDetector(scoring.SerializeToString())
    assert detector.score(pixels(2)).shape == (2,)
    with pytest.raises(MedscreenError, match="abnormal, deferred, p_value, probability"):
        detector.screen(pixels(2))


def test_a_graph_that_fails_on_an_image_is_a_sentence(point: OperatingPoint) -> None:
    fails = network(helper.make_node("Reshape", ["images", "axes"], ["score"]))
    detector = PackagedDetector(package(scoring_graph(fails, SIZE), point, METADATA).SerializeToString())
    with pytest.raises(MedscreenError, match="ONNX Runtime") as error:
        detector.screen(pixels(2))
    one_sentence(error)


def test_a_graph_of_another_kind_is_no_package() -> None:
    with pytest.raises(MedscreenError, match="needs the input pixels and the output score"):
        PackagedDetector(mean_network().SerializeToString())


def test_the_graph_needs_neither_torch_nor_this_project(scoring: onnx.ModelProto, point: OperatingPoint) -> None:
    model = package(scoring, point, METADATA)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert [entry.name for entry in model.graph.input] == ["pixels"]
    assert [entry.name for entry in model.graph.output] == ["score", "p_value", "probability", "abnormal", "deferred"]


def test_an_undefined_score_is_never_called_normal() -> None:
    undefined = network(
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["nothing"]),
        helper.make_node("Div", ["nothing", "nothing"], ["score"]),
    )
    point = OperatingPoint("youden", 0.5, 0.4, 0.6, (0.1, 0.2), "platt", LogisticCurve(1.0, 0.0))
    detector = PackagedDetector(package(scoring_graph(undefined, SIZE), point, METADATA).SerializeToString())
    try:
        screening = detector.screen(pixels(2))
    except MedscreenError:
        return
    assert screening.abnormal.all()
    assert screening.deferred.all()


@pytest.mark.parametrize(
    ("points", "heights"),
    [((0.1, 0.3, 0.31, 0.9), (0.0, 0.2, 0.9, 1.0)), ((0.2, 0.4), (0.5, 0.5)), ((0.3,), (0.25,))],
)
def test_a_stepped_curve_is_interpolated(
    scoring: onnx.ModelProto, point: OperatingPoint, points: tuple[float, ...], heights: tuple[float, ...]
) -> None:
    stepped = replace(point, curve=SteppedCurve(points, heights), calibration="isotonic")
    screening = PackagedDetector(package(scoring, stepped, METADATA).SerializeToString()).screen(pixels(60, seed=5))
    np.testing.assert_allclose(screening.probability, np.interp(screening.score, points, heights), atol=1e-5)


def test_the_scoring_part_is_what_was_packaged(scoring: onnx.ModelProto, point: OperatingPoint) -> None:
    packaged = package(scoring, point, METADATA)
    part, metadata = scoring_part(packaged)
    assert metadata == METADATA
    other = replace(point, threshold=0.9, curve=SteppedCurve((0.1, 0.9), (0.0, 1.0)))
    again, expected = (package(graph, other, METADATA) for graph in (part, scoring))
    assert again.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
