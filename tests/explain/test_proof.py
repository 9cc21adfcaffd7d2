"""The parts of the proof on planted maps, whose answers are known."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from pydantic import TypeAdapter

from factories import FOLDERS, PHANTOM, image_set, unstated
from medscreen.config.datasets import DatasetParams
from medscreen.data.images import TEST, load_images, open_test_split, save_images, set_digest
from medscreen.data.sources.lesion_masks import lesion_masks
from medscreen.data.sources.phantom.anatomy import draw_thorax
from medscreen.data.sources.phantom.cohort import plan_export, stream
from medscreen.data.sources.phantom.films import draw_lesion, expose
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.sample_size import FEWEST
from medscreen.explain.localization import by_chance, center_blob, localize
from medscreen.explain.perturbation import SHARES, perturbation_curves
from medscreen.explain.proof import UNCHANGED, Subject, prove
from medscreen.explain.randomization import rank_correlations, with_shuffled_weights
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.pipeline.evaluate import evaluate
from medscreen.workspace.layout import Layout
from workspaces import SIZE, map_of_quarters, settings_of

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
BOOTSTRAP = Bootstrap(200, 0.95, 1)
IMAGES = 2 * FEWEST  # of one patient each two


def planted(number: int = 30, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Masks of 3 x 3 pixels, and maps that are largest there."""
    rng = np.random.default_rng(3)
    masks = np.zeros((number, size, size), bool)
    for mask in masks:
        down, across = rng.integers(0, size - 3, 2)
        mask[down : down + 3, across : across + 3] = True
    return masks, (masks + rng.random(masks.shape) * 0.1).astype(np.float32)


def test_localization_counts_what_lies_inside() -> None:
    masks, maps = planted()
    found = localize(maps, masks)
    assert found.hits.tolist() == [1.0] * len(masks)
    expected = [(m * mask).sum() / m.sum() for m, mask in zip(maps, masks, strict=True)]
    np.testing.assert_allclose(found.energy, expected, rtol=1e-5)
    assert localize(1.2 - maps, masks).hits.sum() == 0
    np.testing.assert_allclose(by_chance(masks).energy, 9 / SIZE**2)


@pytest.mark.parametrize("value", [0.0, 4.0, np.nan])
def test_a_constant_map_neither_hits_nor_has_energy(value: float) -> None:
    masks = np.ones((2, SIZE, SIZE), bool)
    found = localize(np.full(masks.shape, value, np.float32), masks)
    assert found.hits.tolist() == found.energy.tolist() == [0, 0]


def test_the_center_blob_is_largest_at_the_center() -> None:
    blob = center_blob(2, 9)
    assert blob.shape == (2, 9, 9)
    assert np.unravel_index(blob[1].argmax(), (9, 9)) == (4, 4)
    assert blob[0, 0, 4] == blob[0, 4, 8] == pytest.approx(np.exp(-((4 / 2.25) ** 2) / 2))


def test_deletion_by_the_true_map_removes_what_the_score_sees() -> None:
    masks, maps = planted(size=32)
    pixels = np.where(masks, 250, 60).astype(np.uint8)

    def probability(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).max(1) / 255.0

    deleted, inserted = perturbation_curves(probability, pixels, maps)
    others = perturbation_curves(probability, pixels, np.roll(maps, 1, 0))
    assert deleted.shape == (len(masks), len(SHARES))
    np.testing.assert_allclose(deleted[:, 0], 250 / 255)
    assert deleted[:, 2:].mean() < 0.3 < others[0][:, 2:].mean()
    assert inserted[:, 2:].mean() > 0.9 > others[1][:, 2:].mean()


def test_shuffling_keeps_the_numbers_and_the_geometry() -> None:
    graph = map_of_quarters((1, 0.3, 0, 0))
    graph.graph.initializer.append(numpy_helper.from_array(np.arange(50, dtype=np.float32), "rows"))
    shuffled = with_shuffled_weights(graph, 1)
    before, after = (
        {tensor.name: numpy_helper.to_array(tensor) for tensor in of.graph.initializer} for of in (graph, shuffled)
    )
    assert (before["rows"] == after["rows"]).all()
    assert (before["quarters.mask"] != after["quarters.mask"]).any()
    assert (np.sort(before["quarters.mask"].ravel()) == np.sort(after["quarters.mask"].ravel())).all()


def test_rank_correlation_is_0_where_a_map_is_constant() -> None:
    rng = np.random.default_rng(1)
    maps = rng.random((3, 8, 8)).astype(np.float32)
    others = np.stack([maps[0] ** 3, -maps[1], np.ones((8, 8))]).astype(np.float32)
    assert rank_correlations(maps, others).tolist() == pytest.approx([1, -1, 0])


def subject(workspace: Layout, graph: Path, masks: np.ndarray | None) -> Subject:
    return Subject(PackagedDetector(workspace.packaged("whole")), graph, image_set(IMAGES, SIZE, 5), masks, 1)


def bright_map(folder: Path, name: str) -> Path:
    """The image itself, times a learned tensor of equal numbers that shuffling leaves as it is."""
    model = map_of_quarters((1, 1, 1, 1))
    path = folder / name
    onnx.save(model, path)
    return path


def test_a_map_that_does_not_depend_on_the_weights_is_not_shown(workspace: Layout, tmp_path: Path) -> None:
    graph = bright_map(tmp_path, "bright.onnx")
    of = subject(workspace, graph, image_set(IMAGES, SIZE, 5).pixels > 200)
    report = prove(of, BOOTSTRAP)
    assert report["shown"] is False
    assert "weights" in report["reason"]
    assert report["randomization"]["rank_correlation"]["value"] == 1


def test_a_map_that_misses_the_lesion_is_not_shown(workspace: Layout) -> None:
    graph = workspace.map_graph("whole")  # 0 in the last quarter
    masks = np.zeros((IMAGES, SIZE, SIZE), bool)
    masks[:, -4:, -4:] = True
    report = prove(subject(workspace, graph, masks), BOOTSTRAP)
    assert report["localization"]["pointing_game"]["map"] == {"value": 0, "low": 0, "high": 0}
    assert report["shown"] is False
    assert "lesion" in report["reason"]


@pytest.mark.parametrize("patients", [0, 1, FEWEST - 1, FEWEST])
def test_a_map_is_not_shown_on_the_strength_of_few_patients(workspace: Layout, patients: int) -> None:
    """One image has no map of another image beside it, none has no correlation, and few have no interval."""
    of = subject(workspace, workspace.map_graph("whole"), np.ones((IMAGES, SIZE, SIZE), bool))
    images = replace(of.images, patients=np.arange(IMAGES) % max(patients, 1))
    of = replace(of, images=images.take(np.arange(IMAGES if patients > 1 else patients)))
    report = prove(of, BOOTSTRAP)
    assert report["shown"] is False
    assert ("perturbation" in report) == (patients == FEWEST)
    if patients < FEWEST:
        assert not unstated(report["reason"], f"at least {FEWEST} patients", f"has {patients}")
        assert report["images"] == len(of.images)
        assert report["map"] == "quarter map"


@pytest.mark.filterwarnings("ignore")  # sklearn and NumPy warn of the pictures of a single class
def test_a_test_split_without_abnormal_images_is_evaluated(workspace: Layout) -> None:
    with open_test_split():
        healthy = load_images(workspace.curated(TEST)).healthy()
    shutil.rmtree(workspace.curated(TEST))
    save_images(healthy, np.arange(len(healthy)), workspace.curated(TEST), TEST)
    audit = json.loads(workspace.curation_report.read_text())
    audit["splits"][TEST]["digest"] = set_digest(healthy)
    workspace.curation_report.write_text(json.dumps(audit))
    evaluate(workspace, settings_of(workspace.home), ["half"])
    report = json.loads(workspace.explanations("half").read_text())
    assert (report["shown"], report["images"]) == (False, 0)
    assert f"at least {FEWEST} patients, the test split has 0" in report["reason"]


def test_without_masks_the_report_says_so(workspace: Layout) -> None:
    report = json.loads(workspace.explanations("whole").read_text())
    assert report["map"] == "quarter map"
    assert report["localization"] is None
    assert report["localization_reason"]
    changes = report["randomization"]["rank_correlation"]["high"] < UNCHANGED
    assert (report["shown"], report["reason"] == "") == (changes, changes)
    assert json.loads(workspace.explanations("corner").read_text()) == {
        "shown": False, "map": None, "reason": "the corner has no places",
    }  # fmt: skip


def test_masks_of_the_phantom_are_where_the_film_changes() -> None:
    params = PHANTOM.model_copy(update={"image_size": 64, "contrast": 30.0})
    files = [sent[0] for sent in plan_export(params) if sent[0].patient.finding != "none"][:6]
    healthy = next(sent[0] for sent in plan_export(params) if sent[0].patient.finding == "none")
    names = [file.dicom_name for file in files]
    masks = lesion_masks(params, [*names, healthy.dicom_name])
    assert masks is not None
    assert not masks[-1].any()
    for file, mask in zip(files, masks, strict=False):
        patient = file.patient
        thorax = draw_thorax(patient.sex, patient.age, stream(params, patient.number, 1))
        lesion = draw_lesion(patient.finding, thorax, stream(params, patient.number, 2))
        with_it, without = (
            expose(thorax, of, params.contrast, 64, stream(params, patient.number, 3)) for of in (lesion, None)
        )
        changed = np.abs(with_it - without)
        assert mask.any()
        assert changed[mask].mean() > 8 * changed[~mask].mean()
    with pytest.raises(KeyError):
        lesion_masks(params, ["another.dcm"])


def test_other_data_have_no_masks() -> None:
    assert lesion_masks(TypeAdapter(DatasetParams).validate_python(FOLDERS), ["a.png"]) is None
