import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from conftest import environment
from factories import REPOSITORY
from medscreen.tracking.runs import live_run, log_params
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.layout import Layout


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is created: the tables take seconds to make, so tests copy it."""
    home = tmp_path_factory.mktemp("store")
    open_store(Layout(home, home))
    return home


@pytest.fixture
def layout(empty_store: Path, tmp_path: Path) -> Layout:
    home = Path(shutil.copytree(empty_store, tmp_path / "home"))
    return Layout(home, home)


def runs_of(client: MlflowClient, experiment: str) -> list:
    return client.search_runs([experiment])


def test_the_store_is_written_ahead_and_below_mlruns(empty_store: Path) -> None:
    database = empty_store / "mlruns" / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        locations = [row[0] for row in connection.execute("select artifact_location from experiments")]
    assert all(str(empty_store / "mlruns") in location for location in locations)


def test_processes_that_create_the_store_together_all_succeed(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from medscreen.workspace.layout import Layout;" + (
        "from medscreen.tracking.store import open_store; h = Path(sys.argv[1]);"
        "print(len(open_store(Layout(h, h)).search_experiments()))"
    )
    command, env = [sys.executable, "-c", program, str(tmp_path)], environment(tmp_path)
    env |= {"PYTHONPATH": str(REPOSITORY / "src")}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, env=env) for _ in range(3)]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == [b"1"] * 3


def test_a_live_run_shows_epochs_and_stays_open(layout: Layout) -> None:
    with live_run(layout, "films", "cnn", "key") as live:
        live.on_epoch(1, {"train_loss": 0.5})
        live.on_epoch(2, {"train_loss": 0.25})
    client = open_store(layout)
    (run,) = runs_of(client, open_experiment(client, layout, "films"))
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"epoch/train_loss": 0.25}
    assert run.data.tags["medscreen.run_key"] == "key"
    assert "medscreen.trained_at" in run.data.tags


def test_more_params_than_mlflow_takes_at_once_are_all_shown(layout: Layout) -> None:
    client = open_store(layout)
    run = client.create_run(open_experiment(client, layout, "films"))
    params = {f"members.net-{i}.training.epochs": i for i in range(230)}
    log_params(client, run.info.run_id, params)
    assert client.get_run(run.info.run_id).data.params == {name: str(value) for name, value in params.items()}


def test_a_failed_training_is_a_failed_run(layout: Layout) -> None:
    with pytest.raises(ZeroDivisionError), live_run(layout, "films", "cnn", "key"):
        raise ZeroDivisionError
    client = open_store(layout)
    (run,) = runs_of(client, open_experiment(client, layout, "films"))
    assert run.info.status == "FAILED"


def test_a_training_in_progress_is_left_alone(layout: Layout) -> None:
    with live_run(layout, "films", "cnn", "key") as first, live_run(layout, "films", "cnn", "key") as second:
        first.on_epoch(1, {"train_loss": 1.0})
        second.on_epoch(1, {"train_loss": 2.0})
    client = open_store(layout)
    assert len(runs_of(client, open_experiment(client, layout, "films"))) == 2


def test_training_again_replaces_what_a_killed_training_left(layout: Layout) -> None:
    client = open_store(layout)
    killed = {"medscreen.run_key": "key", "medscreen.writer": "999999-1"}
    client.create_run(open_experiment(client, layout, "films"), tags=killed)
    with live_run(layout, "films", "cnn", "key"):
        pass
    with live_run(layout, "films", "cnn", "another key"):
        pass
    assert len(runs_of(client, open_experiment(client, layout, "films"))) == 2


def test_a_moved_store_says_so_once_and_writes_where_it_is(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    client = open_store(layout)
    run = client.create_run(open_experiment(client, layout, "films"))
    before = layout.mlruns / "artifacts" / "films" / run.info.run_id / "artifacts"
    before.mkdir(parents=True)
    (before / "note.txt").write_text("before")
    capsys.readouterr()
    moved = layout.home.rename(layout.home.with_name("a new home"))
    client = open_store(Layout(moved, moved))
    assert "has moved" in capsys.readouterr().err
    client.log_text(run.info.run_id, "after", "second.txt")
    assert sorted(item.path for item in client.list_artifacts(run.info.run_id)) == ["note.txt", "second.txt"]
    assert not layout.home.exists()
    open_store(Layout(moved, moved))
    assert capsys.readouterr().out == ""
