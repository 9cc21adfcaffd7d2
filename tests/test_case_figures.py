"""Pictures of cases and of embeddings: what is chosen and drawn, and what of it may leave the machine."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from onnx import TensorProto, helper

from factories import PHANTOM
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.explain.packaged_map import PackagedMap
from medscreen.pipeline.evaluate import evaluate
from medscreen.reporting.evaluation_report import case_figure
from medscreen.reporting.evaluation_report.case_figure import save_cases, select_cases
from medscreen.reporting.evaluation_report.embedding_figure import draw_embeddings
from medscreen.tracking.detector_results import read_result
from medscreen.workspace.layout import Layout
from workspaces import SIZE, curate_films, map_of_quarters, settings_of

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
THRESHOLD = 0.5
FALSE_POSITIVES, FALSE_NEGATIVES = case_figure.ERRORS


def drawn(number: int = 120, separation: float = 1.0) -> Outcomes:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, number)
    scores = rng.normal(labels * separation, 1).round(1)  # with ties
    return outcomes_of(labels=labels, scores=scores, patients=np.arange(number), threshold=THRESHOLD)


def films(number: int = 120) -> NDArray[np.uint8]:
    """Films that differ in their mean gray: film i has i + 2."""
    return np.arange(2, number + 2, dtype=np.uint8)[:, None, None] * np.ones((SIZE, SIZE), np.uint8)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures of cases, in place of files."""
    kept: list[Figure] = []
    monkeypatch.setattr(case_figure, "save_figure", lambda made, _: kept.append(made))
    return kept


def test_the_worst_errors_are_the_highest_healthy_and_the_lowest_abnormal_scores() -> None:
    sample = drawn()
    cases = select_cases(sample)
    healthy, ill = (np.flatnonzero(sample.labels == label) for label in (0, 1))
    assert sample.scores[cases[FALSE_POSITIVES][0]] == sample.scores[healthy].max()
    assert sample.scores[cases[FALSE_NEGATIVES][0]] == sample.scores[ill].min()
    assert (np.diff(sample.scores[cases[FALSE_POSITIVES]]) <= 0).all()
    assert (np.diff(sample.scores[cases[FALSE_NEGATIVES]]) >= 0).all()
    assert set(cases[FALSE_POSITIVES]) == {i for i in healthy if sample.scores[i] >= THRESHOLD}
    assert set(cases[FALSE_NEGATIVES]) == {i for i in ill if sample.scores[i] < THRESHOLD}
    assert sorted(np.concatenate(list(cases.values()))) == list(range(120))


def test_each_image_is_drawn_below_its_row_and_score(figures: list[Figure]) -> None:
    sample, pixels = drawn(), films()
    save_cases(Path(), pixels, sample, "whole: val of films", None)
    axes = figures[0].axes[0]
    captions = [text for text in axes.texts if text.get_text().startswith("#")]
    assert len(captions) == len(axes.images) == 4 * 9
    for caption, image in zip(captions, axes.images, strict=True):
        position, score = caption.get_text()[1:].split(": ")
        assert float(score) == pytest.approx(sample.scores[int(position)])
        assert (np.asarray(image.get_array()) == pixels[int(position)]).all()
        assert image.get_extent()[0] == caption.get_position()[0]
    assert f"{FALSE_POSITIVES} ({len(select_cases(sample)[FALSE_POSITIVES])} images)" in [
        text.get_text() for text in axes.texts
    ]
    worst = select_cases(sample)[FALSE_POSITIVES][0]
    assert captions[9].get_text().startswith(f"#{worst}: ")


def autoencoder_map() -> onnx.ModelProto:
    """The map of three quarters, with half of the image as its reconstruction."""
    model = map_of_quarters((1, 1, 1, 0))
    model.graph.node.append(helper.make_node("Mul", ["images", "half"], ["reconstruction"]))
    model.graph.initializer.append(helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]))
    model.graph.output.append(helper.make_tensor_value_info("reconstruction", TensorProto.FLOAT, ["N", 1, SIZE, SIZE]))
    return model


def test_reconstruction_and_map_stand_beside_the_image(figures: list[Figure]) -> None:
    pixels = films()
    save_cases(Path(), pixels, drawn(), "whole", (PackagedMap(autoencoder_map()), "gray"))
    axes, bar = figures[0].axes
    assert bar.get_ylabel() == "gray"
    assert "image, reconstruction, map" in axes.get_title()
    number = 4 * 3
    image, reconstruction, below, found = (axes.images[i * number + 3] for i in range(4))  # the worst false positive
    worst = select_cases(drawn())[FALSE_POSITIVES][0]
    assert (np.asarray(image.get_array()) == pixels[worst]).all()
    np.testing.assert_allclose(np.asarray(reconstruction.get_array()), pixels[worst] / 2, rtol=1e-5)
    assert (np.asarray(below.get_array()) == pixels[worst]).all()
    np.testing.assert_allclose(
        np.asarray(found.get_array()), PackagedMap(autoencoder_map()).maps(pixels[worst][None])[0], rtol=1e-5
    )
    lefts = [tile.get_extent()[0] for tile in (image, reconstruction, below, found)]
    assert np.subtract(lefts, lefts[0]).tolist() == [0, 1, 2, 2]
    assert len({(tile.norm.vmin, tile.norm.vmax) for tile in axes.images[3 * number :]}) == 1


class Planted(PackagedMap):
    """A map that gives every place one value."""

    def __init__(self, value: float) -> None:
        self.value, self.reconstructs = value, False

    def maps(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full(pixels.shape, self.value, np.float32)


@pytest.mark.parametrize("value", [0.0, 3.0, np.nan])
def test_constant_maps_are_drawn(tmp_path: Path, value: float) -> None:
    save_cases(tmp_path / "cases.png", films(), drawn(), "whole", (Planted(value), "gray"))
    assert (tmp_path / "cases.png").stat().st_size > 5_000


@pytest.mark.parametrize("separation", [50.0, -50.0])
def test_groups_without_images_stay_empty(figures: list[Figure], separation: float) -> None:
    save_cases(Path(), films(), drawn(separation=separation), "whole", (Planted(1.0), "gray"))
    headings = [text.get_text() for text in figures[0].axes[0].texts]
    empty = FALSE_NEGATIVES if separation > 0 else "Abnormal, called abnormal"
    assert f"{empty} (0 images)" in headings


def test_the_same_cases_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save_cases(tmp_path / name, films(), drawn(), "whole", (PackagedMap(autoencoder_map()), "gray"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def embedded(number: int = 90) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.object_]]:
    rng = np.random.default_rng(6)
    labels = np.arange(number) % 2
    embeddings = rng.normal(0, (5, 3, 1, 0.5), (number, 4)) + 4 * labels[:, None]
    return embeddings.astype(np.float16), labels, np.array(["train", "tune", "val"] * (number // 3), object)


def test_embeddings_are_drawn_by_class_and_split_on_the_principal_axes() -> None:
    axes: Axes = Figure(layout="constrained").subplots()
    embeddings, labels, splits = embedded()
    draw_embeddings(axes, embeddings, labels, splits)
    (legend,) = axes.figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [f"{split}, {word} (15)" for word in ("normal", "abnormal") for split in ("train", "tune", "val")]
    assert len({line.get_color() for line in axes.lines}) == 2
    assert len({line.get_marker() for line in axes.lines}) == 3
    values = embeddings.astype(np.float64) - embeddings.astype(np.float64).mean(0)
    singular, directions = np.linalg.svd(values, full_matrices=False)[1:]
    share = singular**2 / (singular**2).sum()
    assert f"{share[0]:.1%}" in axes.get_xlabel()
    assert f"{share[1]:.1%}" in axes.get_ylabel()
    expected = np.abs(values @ directions[:2].T)
    for line in axes.lines:
        split, word = str(line.get_label()).split(" (")[0].split(", ")
        chosen = (splits == split) & (labels == (word == "abnormal"))
        np.testing.assert_allclose(np.abs(np.stack(line.get_data(), 1).astype(float)), expected[chosen], atol=1e-6)


def test_an_infinite_embedding_is_drawn() -> None:
    axes: Axes = Figure(layout="constrained").subplots()
    embeddings, labels, splits = embedded()
    embeddings[3, 1] = np.inf
    draw_embeddings(axes, embeddings, labels, splits)
    assert all(np.isfinite(np.stack(line.get_data()).astype(float)).all() for line in axes.lines)


def test_cases_are_logged_of_public_data_alone(workspace: Layout) -> None:
    params = settings_of(workspace.workspace)
    assert {path.parent.name for path in workspace.all_figures.glob("*/cases.png")} == {"corner", "half", "whole"}
    logged = {path.name for path in (workspace.mlruns / "artifacts").rglob("*.png")}
    assert "errors.png" in logged
    assert "cases.png" not in logged
    for dataset, may_leave in ((params.datasets["films"], False), (PHANTOM, True)):
        of = params.model_copy(update={"datasets": {"films": dataset}})
        files = [path for paths in read_result(workspace, of, "whole").files.values() for path in paths]
        assert (workspace.cases_picture("whole") in files) == may_leave


def test_scores_of_another_val_are_refused(workspace: Layout) -> None:
    curate_films(workspace, seed=8)
    with pytest.raises(MedscreenError, match=r"detector.onnx: not calibrated on the .*val. Run `dvc repro`"):
        evaluate(workspace, settings_of(workspace.workspace), ["whole"])
