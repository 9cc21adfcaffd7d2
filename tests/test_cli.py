import csv
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import TINY, new_project, run, set_params
from factories import PARAMS_YAML

SENTENCE_END = "."


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that never ran."""
    return new_project(tmp_path_factory.mktemp("bare") / "project")


def output_of(project: Path, *command: str) -> str:
    """The one sentence on stderr of a command that has to fail."""
    done = run(project, *command)
    assert done.returncode not in (0, None), done.stdout
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("medscreen")
    return lines[0]


def test_the_command_and_the_module_are_one(bare: Path) -> None:
    for command in (["medscreen"], ["python", "-m", "medscreen"]):
        assert run(bare, *command, "--version").stdout == f"medscreen {version('medscreen')}\n"
        assert run(bare, *command, "-h").stdout.startswith("Usage: medscreen ")


def test_predict_screens_dicom_png_and_names_the_unreadable(finished: Path, tmp_path: Path) -> None:
    films = sorted((finished / "data" / "phantom").rglob("image-1.dcm"))[:3]
    folder = tmp_path / "new films"
    folder.mkdir()
    for i, film in enumerate(films):
        shutil.copy(film, folder / f"film-{i}")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60), dtype=np.uint8)).save(folder / "noise.png")
    (folder / "broken.dcm").write_bytes(films[0].read_bytes()[:2000])
    table = tmp_path / "screened.csv"
    assert run(finished, "medscreen", "predict", str(folder), "--out", str(table)).returncode == 1
    done = run(finished, "medscreen", "predict", str(folder), "--json")
    assert done.returncode == 1
    assert "broken.dcm" in done.stderr
    rows = [row for row in json.loads(done.stdout) if row["status"] == "screened"]
    assert [Path(row["file"]).name for row in rows] == ["film-0", "film-1", "film-2", "noise.png"]
    with table.open(newline="") as file:
        saved = [row for row in csv.DictReader(file) if row["status"] == "screened"]
    assert [float(row["score"]) for row in saved] == [row["score"] for row in rows]
    promoted = json.loads((finished / "reports" / "promotion.json").read_text())["promoted"]["detector"]
    saved = pq.read_table(finished / "reports" / "predictions" / f"{promoted}.parquet").to_pylist()
    scores = {row["origin"]: row["score"] for row in saved}
    for film, row in zip(films, rows, strict=False):
        origin = film.relative_to(finished / "data" / "phantom").as_posix()
        assert row["score"] == pytest.approx(scores[origin], abs=1e-5)


def test_predict_prints_a_table(finished: Path) -> None:
    film = next((finished / "data" / "phantom").rglob("image-1.dcm"))
    done = run(finished, "medscreen", "predict", str(film))
    assert done.returncode == 0, done.stderr
    assert "never diagnosis" in done.stdout
    assert "probability" in done.stdout


def test_predict_says_what_is_missing(finished: Path, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    image = tmp_path / "image.png"
    Image.new("L", (8, 8)).save(image)
    assert "not found" in output_of(finished, "medscreen", "predict", "nowhere.png")
    assert "no image files" in output_of(finished, "medscreen", "predict", str(tmp_path / "empty"))
    assert "make repro" in output_of(bare, "medscreen", "predict", str(image))
    assert "is not a stage" in output_of(finished, "medscreen", "predict", str(image), "--stage", "prod")


def test_use_changes_the_data_set_and_keeps_the_comments(bare: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(bare, project)
    shutil.copy(PARAMS_YAML, project / "params.yaml")
    before = (project / "params.yaml").read_text()
    assert run(project, "medscreen", "use", "pneumoniamnist").returncode == 0
    after = (project / "params.yaml").read_text()
    assert after == before.replace("\ndataset: phantom\n", "\ndataset: pneumoniamnist\n")
    assert "phantom, pneumoniamnist" in output_of(project, "medscreen", "use", "nothing")
    assert (project / "params.yaml").read_text() == after


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"detectors.cnn.widht": 3}, "detectors.cnn.widht"),
        ({"detectors.cnn.training.epochs": 0}, "detectors.cnn.training.epochs"),
        ({"evaluation.confidence": 1.5}, "evaluation.confidence"),
        ({"dataset": "mammograms"}, "mammograms"),
        ({"operating.threshold.policy": "magic"}, "operating"),
        ({"datasets.pneumoniamnist.root": "nowhere", "dataset": "pneumoniamnist"}, "nowhere/pneumoniamnist.npz"),
    ],
)
def test_a_mistake_in_params_is_one_sentence_and_loses_nothing(copied: Path, changes: dict, names: str) -> None:
    def outputs() -> dict[Path, bytes]:
        tops = (copied / "models", copied / "reports", copied / "data")
        return {p: p.read_bytes() for top in tops for p in top.rglob("*") if p.is_file()}

    before = outputs()
    set_params(copied, changes)
    done = run(copied, "python", "-m", "medscreen.pipeline.raw")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert names in done.stderr
    assert outputs() == before


def test_a_repro_with_a_mistake_in_params_loses_nothing(copied: Path) -> None:
    before = {p: p.read_bytes() for top in ("models", "reports", "data") for p in outputs_below(copied / top)}
    for changes in ({"detectors.cnn.training.epochs": 0}, {"curation.val_fraction": 0.95}):
        set_params(copied, changes)
        done = run(copied, "dvc", "repro")
        assert done.returncode != 0
        assert next(iter(changes)).split(".")[0] in done.stderr
        after = {p: p.read_bytes() for top in ("models", "reports", "data") for p in outputs_below(copied / top)}
        assert after == before


def outputs_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (lambda root: (root / "labels.csv").unlink(), "labels.csv is missing"),
        (lambda root: (root / "labels.csv").write_text("file,patient\n"), "'label'"),
        (lambda root: (root / "labels.csv").write_text("file,patient,label,finding,sex,age,site\n"), "no row below it"),
        (lambda root: relabelled(root, ",1,", ",0,"), "abnormal patients"),
        (lambda root: relabelled(root, "P-00003/", "../P-00003/"), "labels.csv, line "),
    ],
)
def test_a_mistake_in_the_data_is_one_sentence(copied: Path, write, names: str) -> None:
    root = copied / "data" / "phantom"
    write(root)
    done = run(copied, "python", "-m", "medscreen.pipeline.curate")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert names in done.stderr


def relabelled(root: Path, old: str, new: str) -> None:
    table = root / "labels.csv"
    table.write_text("\n".join(line.replace(old, new) for line in table.read_text().splitlines()) + "\n")


def test_the_tiny_parameters_are_parameters(bare: Path) -> None:
    assert (bare / "params.yaml").read_text().count("patients: 280") == 1
    assert TINY["datasets.phantom.patients"] == 280
