"""The command `explain` on a registered version: pictures, reasons, files that are lost."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from factories import unstated
from medscreen.cli.explain import explain
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.explained import load_explained
from medscreen.registry.loading import record_in_stage, whole_graph
from medscreen.registry.versions import version_in_stage
from medscreen.reporting.evaluation_report.explanation_figures import save_layers, save_overlay
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, SIZE

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "a film (1).png"
    Image.fromarray(np.random.default_rng(2).integers(2, 256, (SIZE, SIZE)).astype(np.uint8)).save(path)
    return path


def explained(*arguments: str | Path) -> Result:
    return CliRunner().invoke(explain, [*map(str, arguments), "--name", MODEL])


def keep(workspace: Layout, name: str, content: str) -> None:
    """Replaces a file of the run of the version in Production."""
    client = open_store(workspace)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    client.log_text(version.run_id, content, name)


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def is_colored(path: Path) -> bool:
    """Whether more than a few pixels are not gray."""
    pixels = picture(path)
    return bool((np.ptp(pixels, axis=2) > 40).mean() > 0.05)


def test_explain_writes_a_picture_of_each_image(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    keep(workspace, "explanations.json", json.dumps({"shown": True, "reason": ""}))
    record = record_in_stage(MODEL, "Production")
    of = load_explained(record, PackagedDetector(whole_graph(record)))
    assert of.map is not None
    assert of.map.maps(np.full((1, SIZE, SIZE), 9, np.uint8)).shape == (1, SIZE, SIZE)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    result = explained(film, broken, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "broken.png can't be read" in result.stderr
    (written,) = (tmp_path / "out").iterdir()
    assert written.name == "0001-a-film--1-.png"
    assert written.name in "".join(result.stdout.split())
    assert is_colored(written)


def test_a_map_that_is_not_shown_is_replaced_by_its_reason(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    keep(workspace, "explanations.json", json.dumps({"shown": False, "reason": "it is a test"}))
    result = explained(film, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "it is a test" in result.stderr
    assert not is_colored(next((tmp_path / "out").iterdir()))


def test_a_changed_map_is_refused_and_a_way_out_named(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    keep(workspace, "explain.onnx", "another")
    result = explained(film, "--out", tmp_path / "out")
    assert not unstated(str(result.exception), "explain.onnx", MODEL, "dvc repro publish")


def test_layers_of_a_training_that_is_not_there(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    result = explained(film, "--out", tmp_path / "out", "--layers")
    assert not unstated(str(result.exception), "models/", "dvc pull", "--layers")


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_constant_map_is_named_as_such(tmp_path: Path, value: float) -> None:
    image, constant = np.full((SIZE, SIZE), 90, np.uint8), np.full((SIZE, SIZE), value, np.float32)
    save_overlay(tmp_path / "constant.png", image, constant, "unit", ("title", ""))
    save_overlay(tmp_path / "none.png", image, None, "unit", ("title", "The map is constant: it marks no region."))
    assert (tmp_path / "constant.png").read_bytes() == (tmp_path / "none.png").read_bytes()


def test_layers_are_drawn_by_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    layers = {"first": rng.random((3, 8, 8)).astype(np.float32), "last": rng.random((20, 4, 4)).astype(np.float32)}
    save_layers(tmp_path / "layers.png", layers, "title")
    assert is_colored(tmp_path / "layers.png")
    save_layers(tmp_path / "none.png", {}, "title")


@pytest.mark.parametrize("proof", ["", '{"shown": tr'])
def test_a_lost_or_damaged_proof_shows_no_map(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None], proof: str
) -> None:
    loaded_registry(workspace.workspace)
    keep(workspace, "explanations.json", proof)
    done = explained(film, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "explanations.json is lost or damaged" in done.stderr
    assert not is_colored(next((tmp_path / "out").iterdir()))


def test_a_map_without_lesions_to_compare_with_is_named_so(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    done = explained(film, "--out", tmp_path / "out")
    assert ("not compared with lesions" in done.stderr) == is_colored(next((tmp_path / "out").iterdir()))


def test_nothing_is_overwritten_and_a_name_is_no_formula(
    workspace: Layout, tmp_path: Path, film: Path, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    formula = film.rename(tmp_path / "$\\frac$.png")
    assert explained(formula, "--out", tmp_path / "out").exit_code == 0
    (written,) = (tmp_path / "out").iterdir()
    before = written.read_bytes()
    again = explained(formula, "--out", tmp_path / "out")
    assert not unstated(str(again.exception), str(tmp_path / "out"), "--out")
    assert written.read_bytes() == before
