import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from playwright.sync_api import expect

from browsers import new_tab
from conftest import environment
from factories import REPOSITORY
from medscreen.workspace.layout import Layout
from servers import free_port, serving

STUDY = "cnn phantom 0a1b2c3d"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is a checkout to `find_layout`, with a study of three trials."""
    folder = bare(tmp_path_factory.mktemp("checkout"))
    journal = Layout(folder, folder).studies_journal
    journal.parent.mkdir()
    fill(JournalStorage(JournalFileBackend(str(journal))))
    return folder


def bare(folder: Path) -> Path:
    (folder / "dvc.yaml").touch()
    (folder / "params.yaml").touch()
    return folder


def fill(storage: optuna.storages.BaseStorage) -> None:
    study = optuna.create_study(study_name=STUDY, storage=storage, direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("training.learning_rate", 0.1, 0.9), n_trials=3)


def environment_here(folder: Path) -> dict[str, str]:
    return environment(folder) | {"PYTHONPATH": str(REPOSITORY / "src")}


@pytest.fixture
def address(checkout: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = ["medscreen", "dashboard", "--port", str(port)]
    with serving(command, url, checkout, environment_here(checkout), "api/studies"):
        yield url


def test_the_dashboard_shows_the_studies_of_the_journal(address: str, browser: str, seen: Path) -> None:
    with new_tab(browser) as tab:
        tab.goto(address)
        expect(tab.get_by_text(STUDY).first).to_be_visible()
        tab.screenshot(path=seen / "studies.png")
        tab.get_by_text(STUDY).first.click()
        expect(tab.get_by_role("heading", name="Best Trial")).to_be_visible()
        expect(tab.get_by_text("Params = [training.learning_rate")).to_be_visible()
        tab.screenshot(path=seen / "study.png")


def test_only_this_machine_is_answered(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))  # would be in use if it listened everywhere


def refused(folder: Path, *options: str) -> str:
    """The one sentence of a dashboard that does not begin."""
    done = subprocess.run(
        ["medscreen", "dashboard", "--port", str(free_port()), *options],
        cwd=folder, env=environment_here(folder), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_checkout_without_studies_is_told_how_to_begin_one(tmp_path: Path) -> None:
    assert "`medscreen study DETECTOR`" in refused(bare(tmp_path))
    assert not (tmp_path / "studies").exists()


def test_a_journal_without_a_study_is_told_so(tmp_path: Path) -> None:
    journal = Layout(bare(tmp_path), tmp_path).studies_journal
    journal.parent.mkdir()
    journal.touch()
    assert "there is no study yet" in refused(tmp_path)


def test_a_taken_port_is_named(checkout: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"Port {port} is in use" in refused(checkout, "--port", port)


def test_the_package_to_install_is_named(checkout: Path, tmp_path: Path) -> None:
    """An environment in which Python finds everything except optuna-dashboard."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery as m\n"
        "found = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = classmethod(\n"
        "    lambda cls, name, *rest: None if name == 'optuna_dashboard' else found(name, *rest)\n"
        ")\n"
    )
    env = environment_here(checkout) | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY / 'src'}"}
    done = subprocess.run(
        ["medscreen", "dashboard"], cwd=checkout, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "medscreen: optuna-dashboard is not installed: pip install 'medscreen[dashboard]'.\n"


def test_a_database_is_shown_in_place_of_the_journal(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    fill(RDBStorage(url))
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = ["medscreen", "dashboard", "--port", str(port), "--storage", url]
    with (
        serving(command, address, bare(tmp_path), environment_here(tmp_path), "api/studies"),
        urllib.request.urlopen(f"{address}/api/studies") as answer,  # noqa: S310
    ):
        assert STUDY in answer.read().decode()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "postgresql+psycopg2://ann:very-secret@127.0.0.1:1/studies",
            "postgresql+psycopg2://127.0.0.1:1/studies: the database can't be used",
        ),
        ("nonsense", "nonsense: there is no study yet. Start one with `medscreen study DETECTOR`"),
        ("oracle://ann:very-secret@127.0.0.1/studies", "oracle://127.0.0.1/studies: unsupported database address"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_without_its_password(checkout: Path, url: str, message: str) -> None:
    sentence = refused(checkout, "--storage", url)
    assert message in sentence
    assert "very-secret" not in sentence


def test_an_empty_database_stays_empty(tmp_path: Path) -> None:
    database = tmp_path / "empty.db"
    database.touch()
    assert "there is no study yet" in refused(bare(tmp_path), "--storage", f"sqlite:///{database}")
    assert database.read_bytes() == b""


def test_ctrl_c_ends_it_without_a_traceback(checkout: Path) -> None:
    command = ["medscreen", "dashboard", "--port", str(free_port())]
    env = environment_here(checkout)
    with subprocess.Popen(command, cwd=checkout, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert b"Studies at http://127.0.0.1:" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0
        assert server.stderr.read() == b""
        assert server.stdout.read() == b""


def test_the_command_line_loads_without_optuna(checkout: Path) -> None:
    code = "import sys, medscreen.cli; print('optuna' in sys.modules, 'matplotlib' in sys.modules)"
    command, env = ["python", "-c", code], environment_here(checkout)
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
