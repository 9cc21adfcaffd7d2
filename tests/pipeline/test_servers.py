"""A team: MLflow on PostgreSQL with an artefact store, a DVC remote, and two checkouts."""

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from conftest import TINY, new_project, run
from factories import PARAMS_YAML
from medscreen import load_detector
from medscreen.data.images import load_images
from medscreen.errors import MedscreenError
from medscreen.registry.versions import Version, version_in_stage
from medscreen.tracking.runs import live_run
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.layout import Layout, find_layout
from servers import MlflowServer

MODEL = "phantom-detector"
ROSTER = ("gradient", "autoencoder")  # the second is the better one
EPOCHS = 2


def on(server: MlflowServer, project: Path, *command: str) -> str:
    """The output of a command that has to succeed, with the server as MLflow's store."""
    done = run(project, "env", f"MLFLOW_TRACKING_URI={server.address}", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(project: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    return subprocess.run(["git", *who, *arguments], cwd=project, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def first(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout of whoever trained: reproduced, pushed to a DVC remote, committed."""
    detectors = yaml.safe_load(PARAMS_YAML.read_text())["detectors"]
    detectors["autoencoder"]["layers"] |= {"down": [2, 4, 8], "up": [4, 2, 2]}
    detectors["autoencoder"]["training"]["epochs"] = EPOCHS
    folder = tmp_path_factory.mktemp("team")
    project = new_project(folder / "first", TINY | {"detectors": {name: detectors[name] for name in ROSTER}})
    on(mlflow_server, project, "dvc", "repro")
    on(mlflow_server, project, "dvc", "remote", "add", "-d", "shared", str(folder / "remote"))
    on(mlflow_server, project, "dvc", "push")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "results")
    return project


@pytest.fixture(scope="module")
def second(mlflow_server: MlflowServer, first: Path) -> Path:
    """The checkout of somebody else, cloned and pulled."""
    git(first.parent, "clone", "-q", str(first), "second")
    on(mlflow_server, first.parent / "second", "dvc", "pull")
    return first.parent / "second"


@pytest.fixture
def client(mlflow_server: MlflowServer, second: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """The store as the second checkout sees it, which is where the test then is."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.address)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(second)
    return open_store(find_layout())


def production(client: MlflowClient) -> Version:
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    assert int(client.get_model_version_by_alias(MODEL, "production").version) == version.number
    return version


def downloaded(project: Path) -> list[Path]:
    return sorted((project / ".medscreen" / "models").rglob("model.onnx"))


def stored(server: MlflowServer, content: bytes) -> list[Path]:
    """The files of the artefact store that hold a model of that content."""
    return [path for path in server.artifacts.rglob("model.onnx") if path.read_bytes() == content]


def test_runs_pictures_and_models_are_on_the_server(
    mlflow_server: MlflowServer, first: Path, client: MlflowClient
) -> None:
    experiment = client.get_experiment_by_name("phantom")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(found.info.run_name for found in runs) == sorted(ROSTER)
    for found in runs:
        layout = find_layout(first)
        report = json.loads((layout.report(found.info.run_name) / "evaluation.json").read_text())
        assert found.info.status == "FINISHED"
        assert found.data.metrics["test/auroc"] == report["test"]["auroc"]["value"]
        assert "figures/confusion.png" in [i.path for i in client.list_artifacts(found.info.run_id, "figures")]
        assert stored(mlflow_server, layout.packaged(found.info.run_name).read_bytes())
    trained = next(found for found in runs if found.info.run_name == "autoencoder")
    assert len(client.get_metric_history(trained.info.run_id, "epoch/tune_loss")) == EPOCHS
    assert not (first / "mlruns").exists()


def test_a_clone_that_pulls_has_nothing_to_do_and_sees_the_same_production(
    mlflow_server: MlflowServer, first: Path, second: Path, client: MlflowClient
) -> None:
    held = production(client)
    assert held.digest == json.loads((first / "reports" / "promotion.json").read_text())["promoted"]["digest"]
    log = on(mlflow_server, second, "dvc", "repro")
    assert [line.split("'")[1] for line in log.splitlines() if line.startswith("Running stage")] == ["raw", "publish"]
    assert git(second, "status", "--porcelain") == ""
    assert production(client) == held
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == len(ROSTER)
    assert len(client.search_runs([client.get_experiment_by_name("phantom").experiment_id])) == len(ROSTER)


def test_what_is_loaded_is_the_packaged_file_downloaded_once(second: Path, client: MlflowClient) -> None:
    shutil.rmtree(second / ".medscreen" / "models", ignore_errors=True)
    detector = production(client).detector
    images = np.asarray(load_images(find_layout().curated("val")).pixels)
    score = load_detector(MODEL).screen(images).score
    (copy,) = downloaded(second)
    packaged = find_layout().packaged(detector).read_bytes()
    assert copy.read_bytes() == packaged
    before = copy.stat()
    np.testing.assert_array_equal(load_detector(MODEL).screen(images).score, score)
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    copy.write_bytes(packaged[: len(packaged) // 2])  # as a full disk leaves it
    np.testing.assert_array_equal(load_detector(MODEL).screen(images).score, score)
    assert [path.read_bytes() for path in downloaded(second)] == [packaged]


def test_the_commands_work_on_the_server(
    mlflow_server: MlflowServer, first: Path, second: Path, client: MlflowClient
) -> None:
    film = next((first / "data" / "phantom").rglob("image-1.dcm"))
    (row,) = json.loads(on(mlflow_server, second, "medscreen", "predict", str(film), "--json"))
    assert 0 < row["p_value"] <= 1
    held = production(client)
    asked = ("threshold", "Production", "--policy", "sensitivity", "--with", "at_least=0.95")
    made = f"{MODEL} version {len(ROSTER) + 1}: version {held.number} at "
    assert made in on(mlflow_server, second, "medscreen", *asked)
    assert "already has this operating point" in on(mlflow_server, second, "medscreen", *asked)
    assert production(client) == held
    message = on(mlflow_server, second, "medscreen", "ui")
    assert message == f"MLflow at {mlflow_server.address}, the server of MLFLOW_TRACKING_URI.\n"


def test_lost_model_files_are_said_and_come_back(
    mlflow_server: MlflowServer, second: Path, client: MlflowClient
) -> None:
    held = production(client)
    load_detector(MODEL)
    (lost,) = stored(mlflow_server, find_layout().packaged(held.detector).read_bytes())
    lost.unlink()
    with pytest.raises(MedscreenError, match="its files are lost; `dvc repro publish` restores it"):
        load_detector(MODEL)
    on(mlflow_server, second, "dvc", "repro", "publish")
    assert production(client).digest == held.digest
    assert load_detector(MODEL).image_size == TINY["datasets.phantom.image_size"]


def test_a_training_of_another_checkout_is_left_alone_and_a_killed_one_of_this_is_not(
    client: MlflowClient, tmp_path: Path
) -> None:
    here, there = (Layout(tmp_path / name, tmp_path / name) for name in ("here", "there"))
    experiment = open_experiment(client, here, "films")
    for layout in (here, there):
        with pytest.raises(KeyboardInterrupt), live_run(layout, "films", "cnn", "other key"):
            raise KeyboardInterrupt
    marks = {(layout.scratch / "checkout").read_text() for layout in (here, there)}
    assert len(marks) == 2
    for layout in (here, there):
        killed = {
            "medscreen.run_key": "key",
            "medscreen.writer": "999999-1",
            "medscreen.checkout": (layout.scratch / "checkout").read_text(),
        }
        client.create_run(experiment, run_name=layout.home.name, tags=killed)
    with live_run(here, "films", "new", "key"):
        pass
    left = client.search_runs([experiment], "tags.`medscreen.run_key` = 'key'")
    assert sorted(found.info.run_name for found in left) == ["new", "there"]


def test_an_experiment_that_several_make_at_once_is_one(client: MlflowClient, tmp_path: Path) -> None:
    layouts = [Layout(tmp_path / str(i), tmp_path / str(i)) for i in range(8)]
    with ThreadPoolExecutor(len(layouts)) as pool:
        made = set(pool.map(lambda layout: open_experiment(client, layout, "at once"), layouts))
    assert len(made) == 1
