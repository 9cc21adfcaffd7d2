"""What curation, calibration, evaluation and `medscreen predict` make of the domain check and of DICOM headers."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import config

from factories import CURATION, dicom, image_set
from medscreen.cli.predict import predict
from medscreen.config.display import FILE_DISPLAY
from medscreen.config.privacy import OTHER
from medscreen.data.curation.curation import curate
from medscreen.data.curation.small_cells import without_rare_values
from medscreen.data.images import load_images, save_images
from medscreen.data.load_image import read_image
from medscreen.data.sources.records import Record
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import METADATA
from medscreen.packaging.disclosure import disclosed
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.pipeline.evaluate import evaluate
from medscreen.registry.stage_package import StagePackage
from medscreen.workspace.layout import Layout
from workspaces import MODEL, SIZE, film, settings_of

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
OUTSIDE = "outside the training data"


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)


def screened(paths: list[Path], *options: str) -> Any:
    return CliRunner().invoke(predict, [*map(str, paths), "--name", MODEL, *options])


@pytest.mark.parametrize(
    ("elements", "described"),
    [
        ({"Modality": "CR", "BodyPartExamined": "CHEST"}, {"modality": "CR", "body part": "CHEST"}),
        ({"Modality": " ct ", "BodyPartExamined": "chest  abdomen "}, {"modality": "CT", "body part": "CHEST ABDOMEN"}),
        ({"Modality": ["MR", "CT"]}, {"modality": "MR", "body part": ""}),
        ({"Modality": "", "BodyPartExamined": ""}, {"modality": "", "body part": ""}),
        ({"BodyPartExamined": "SK\x1b[31mULL"}, {"modality": "", "body part": "SK [31MULL"}),
    ],
)
def test_a_file_states_modality_and_body_part(
    tmp_path: Path, elements: dict[str, Any], described: dict[str, str]
) -> None:
    stored = np.arange(64, dtype=np.uint16).reshape(8, 8)
    with config.disable_value_validation():
        path = dicom(tmp_path / "film.dcm", stored, **elements)
    assert read_image(path, FILE_DISPLAY).described == described


def test_other_pictures_state_nothing(tmp_path: Path) -> None:
    Image.fromarray(noise(1)).save(tmp_path / "film.png")
    assert read_image(tmp_path / "film.png", FILE_DISPLAY).described is None


def test_curation_keeps_what_dicom_states_and_merges_what_few_have(tmp_path: Path) -> None:
    records = []
    for number in range(60):
        path = tmp_path / f"{number}.dcm"
        stored = np.random.default_rng(number).integers(0, 4000, (SIZE, SIZE)).astype(np.uint16)
        part = {"BodyPartExamined": "SKULL" if number == 3 else "CHEST"} if number % 10 else {}
        dicom(path, stored, Modality="CR", **part)
        if number == 7:
            Image.fromarray(noise(7)).save(path := tmp_path / "7.png")
        records.append(Record(path.name, path, f"p{number}", number % 2, ("none", "mass")[number % 2]))
    curated = curate(records, SIZE, CURATION, 7, 1, tmp_path / "scratch")
    merged = without_rare_values(curated)
    assert merged.audit["merged_values"] == {"DICOM body part": 1}
    save_images(merged.images, np.arange(60), tmp_path / "saved")
    saved = load_images(tmp_path / "saved")
    assert list(saved.dicom["modality"]) == [None if number == 7 else "CR" for number in range(60)]
    stated = {0: "", 3: OTHER, 7: None}
    assert list(saved.dicom["body part"]) == [stated.get(n, "CHEST") if n % 10 else "" for n in range(60)]
    assert saved.take(np.array([3, 7])).dicom["body part"] == [OTHER, None]


def test_images_of_no_dicom_file_have_no_columns_for_it(tmp_path: Path) -> None:
    images = image_set(8, SIZE, 1)
    save_images(images, np.arange(8), tmp_path / "saved")
    assert load_images(tmp_path / "saved").dicom == {}


@given(st.lists(st.tuples(st.sampled_from(["CT", "MR", "CR", "", OTHER, None]), st.integers(0, 12)), max_size=60))
@settings(deadline=None)
def test_no_count_leads_to_fewer_than_5_patients(stated: list[tuple[str | None, int]]) -> None:
    counts = disclosed([value for value, _ in stated], [patient for _, patient in stated])
    for value in set(counts) - {OTHER, "unknown"}:
        assert len({patient for name, patient in stated if name == value}) >= 5
    assert sum(counts.values()) == sum(value is not None for value, _ in stated)


@pytest.mark.parametrize(
    ("described", "told"),
    [
        ({"modality": "CR", "body part": "CHEST"}, ""),
        ({"modality": "CT", "body part": "CHEST"}, "modality CT, trained on CR, DX"),
        ({"modality": "CR", "body part": ""}, "body part unknown, trained on CHEST"),
        ({"modality": "", "body part": "CHEST"}, "modality unknown, trained on CR, DX"),
        ({"modality": "US", "body part": "NECK"}, "modality US, trained on CR, DX; body part NECK, trained on CHEST"),
        (None, ""),
    ],
)
def test_a_mismatch_is_told(described: dict[str, str] | None, told: str) -> None:
    detector = PackagedDetector.__new__(PackagedDetector)
    counts = {"modality": {"CR": 9, "DX": 7}, "body part": {"CHEST": 16}}
    detector.metadata = {"domain": {"dicom": counts}}
    assert detector.header_mismatch(described) == told
    for silent in ({}, {"modality": {"unknown": 9}, "body part": {"unknown": 9}}):
        detector.metadata = {"domain": {"dicom": silent}}
        assert detector.header_mismatch(described) == ""


def test_of_many_body_parts_the_most_frequent_are_named() -> None:
    detector = PackagedDetector.__new__(PackagedDetector)
    detector.metadata = {"domain": {"dicom": {"body part": {"A": 5, "B": 9, "C": 7, "D": 8, "E": 5}}}}
    assert detector.header_mismatch({"body part": "F"}) == "body part F, trained on B, D, C and 2 more"


@pytest.mark.parametrize(
    "domain", [5, None, "x", {"dicom": 5}, {"dicom": {"modality": 5}}, {"dicom": {"modality": {"CR": "many"}}}]
)
def test_a_domain_of_another_type_is_one_sentence(domain: Any) -> None:
    detector = PackagedDetector.__new__(PackagedDetector)
    detector.metadata = {"domain": domain}
    with pytest.raises(MedscreenError, match="domain is invalid in its metadata"):
        detector.header_mismatch({"modality": "CR"})


def test_each_image_is_scored_once_and_as_the_package_scores_it(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What calibration derives from its one pass is, bit for bit, what the packaged graph gives."""
    rows = pq.read_table(workspace.development_predictions("whole")).to_pandas()
    detector = PackagedDetector(workspace.packaged("whole"))
    for split in ("train", "tune", "val"):
        of_split = rows[rows.split == split]
        screening = detector.screen(load_images(workspace.curated(split)).pixels)
        for name in ("score", "p_value", "probability", "abnormal", "deferred", "in_domain"):
            np.testing.assert_array_equal(of_split[name].to_numpy(), getattr(screening, name))
    monkeypatch.setattr("medscreen.pipeline.evaluate.prediction_rows", None)
    evaluate(workspace, settings_of(workspace.home), ["whole"])  # test was screened before, by the same graph


def test_calibration_writes_the_check_and_evaluation_its_rate(workspace: Layout) -> None:
    about = PackagedDetector(workspace.packaged("whole")).metadata["domain"]
    detector = PackagedDetector(workspace.packaged("whole"))
    assert about == detector.metadata["domain"]
    patients = sum(len(load_images(workspace.curated(split))) for split in ("tune", "val"))
    assert about["calibrated_on"] == {"images": patients, "patients": patients}
    assert about["dicom"] == {}
    rows = pq.read_table(workspace.predictions("whole")).to_pandas()
    reported = json.loads((workspace.report("whole") / "evaluation.json").read_text())
    for split in ("train", "val", "test"):
        inside = rows[rows["split"] == split]["in_domain"]
        assert reported[split]["in_domain"]["value"] == pytest.approx(inside.mean(), abs=1e-6)
        assert inside.mean() > 0.9
    assert reported["test"]["in_domain"]["low"] < reported["test"]["in_domain"]["high"]


def test_predict_calls_what_is_unlike_the_training_data_outside(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    paths = [tmp_path / f"{name}.png" for name in ("film", "noise")]
    for path, pixels in zip(paths, (film(5001, 1), noise(1)), strict=True):
        Image.fromarray(pixels).save(path)
    saved = screened(paths, "--out", str(tmp_path / "table.csv"))
    assert (saved.exit_code, "1 outside the training data" in saved.stdout) == (0, True)
    printed = screened(paths)
    assert printed.exit_code == 0
    assert "abnormal" in printed.stdout
    assert OUTSIDE in printed.stdout
    assert "no domain check" not in printed.stderr
    rows = json.loads(screened(paths, "--json").stdout)
    assert [row["in_domain"] for row in rows] == [True, False]
    assert rows[1]["called"] == OUTSIDE
    assert rows[0]["called"].startswith("abnormal" if rows[0]["abnormal"] else "normal")
    assert np.isfinite(rows[1]["score"])
    with (tmp_path / "table.csv").open(newline="") as file:
        assert [row["called"] for row in csv.DictReader(file)] == [row["called"] for row in rows]


def put_in_production(model: onnx.ModelProto, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(model, folder / "changed.onnx")
    package = StagePackage(MODEL, 1, "whole", packaged_digest(folder / "changed.onnx"), folder / "changed.onnx")
    monkeypatch.setattr("medscreen.registry.stage_package.package_in_stage", lambda *_: package)


def test_predict_tells_another_modality_and_leaves_no_file_out(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_registry(workspace.workspace)
    stored = np.random.default_rng(2).integers(0, 4000, (SIZE, SIZE)).astype(np.uint16)
    with config.disable_value_validation():
        path = dicom(tmp_path / "[skull].dcm", stored, BodyPartExamined="[b]SKULL")
    model = onnx.load(workspace.packaged("whole"))
    (stated,) = [entry for entry in model.metadata_props if entry.key == METADATA]
    metadata = json.loads(stated.value) | {"display": FILE_DISPLAY.model_dump()}
    metadata["domain"]["dicom"] = {"body part": {"CHEST": 9}}
    stated.value = json.dumps(metadata)
    put_in_production(model, tmp_path, monkeypatch)
    (row,) = json.loads(screened([path], "--json").stdout)
    assert row["header_mismatch"] == "body part [B]SKULL, trained on CHEST"
    printed = screened([path])
    assert printed.exit_code == 0
    assert "body part [B]SKULL" in " ".join(printed.stdout.split())


def test_predict_with_a_package_of_before_says_so_once(
    workspace: Layout, tmp_path: Path, loaded_registry: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_registry(workspace.workspace)
    model = onnx.load(workspace.packaged("whole"))
    kept = [output for output in model.graph.output if output.name != "in_domain"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    put_in_production(model, tmp_path, monkeypatch)
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(noise(number)).save(folder / f"{number}.png")
    result = screened([folder], "--json")
    assert result.stderr.count("no domain check") == 1
    assert result.exit_code == 0
    for row in json.loads(result.stdout):
        assert row["in_domain"] is None
        assert row["called"] in {"normal", "abnormal", "normal, refer", "abnormal, refer"}


def test_what_dicom_states_is_no_part_of_the_data_digest(tmp_path: Path) -> None:
    images = image_set(8, SIZE, 1)
    described = replace(images, dicom={"modality": ["CR", None] * 4})
    assert described.take(np.arange(2)).dicom == {"modality": ["CR", None]}
    save_images(described, np.arange(8), tmp_path / "saved")
    assert load_images(tmp_path / "saved").dicom == {"modality": ["CR", None] * 4}
