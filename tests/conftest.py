import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from browsers import browser, seen  # noqa: F401  # fixtures
from factories import PHANTOM, REPOSITORY, commit_all, new_checkout, real_data
from medscreen.data.sources.phantom import export as phantom
from medscreen.pipeline.publish import publish
from medscreen.workspace.layout import Layout
from servers import mlflow_server, postgresql  # noqa: F401  # fixtures
from studied import add_studies
from workspaces import new_workspace, settings_of

if TYPE_CHECKING:
    from service_process import Running

# a shell starts background jobs with SIGINT ignored, and so would be what the tests start and interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BIN = Path(sys.executable).parent
# a whole repro, a server, a browser, a study, a long training or an ONNX export: tests that need one are slow
SLOW_FIXTURES = {"finished", "postgresql", "mlflow_server", "browser", "studied", "trained_once", "exported_once"}

# Few detectors, a phantom that is small and easy: the pipeline is what is tested, not the networks.
SAMPLE = ("gradient", "autoencoder", "cnn")
TINY: dict[str, Any] = {
    "compute.threads": 1,  # the tests themselves run side by side
    "datasets.phantom.patients": 280,  # twenty of each class in val and in test: fewer are refused
    "datasets.phantom.image_size": 32,
    "datasets.phantom.contrast": 30.0,
    "datasets.phantom.exact_duplicates": 3,
    "datasets.phantom.near_duplicates": 3,
    "datasets.phantom.respelled_patients": 3,
    "datasets.phantom.unreadable_files": 3,
    "detectors.autoencoder.layers.down": [2, 4, 8],
    "detectors.autoencoder.layers.up": [4, 2, 2],
    "detectors.autoencoder.training.epochs": 2,
    "detectors.cnn.width": 8,
    "detectors.cnn.training.epochs": 24,
    "detectors.cnn.training.batch_size": 16,
    "detectors.cnn.training.learning_rate": 0.01,
    "evaluation.resamples": 100,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what needs a slow fixture or runs DVC; other slow tests carry the mark themselves."""
    for item in items:
        needed = getattr(item, "fixturenames", ())
        if SLOW_FIXTURES.intersection(needed) or item.path.parent.name == "pipeline":
            item.add_marker("slow")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real images, see DESIGN; tests that use them skip where they are absent."""
    return real_data()


@pytest.fixture(scope="session", autouse=True)
def _outside_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Relative paths begin in an empty folder, so that nothing finds the checkout's own params.yaml and results."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def _own_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gives its process a temporary folder of its own: here that ends with the test."""
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())


def set_params(project: Path, changes: dict[str, Any]) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *blocks, last = key.split(".")
        block = params
        for name in blocks:
            block = block[name]
        block[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


def environment(project: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "MLFLOW_", "GIT_"))}
    return kept | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project / "src"),
        "DVC_NO_ANALYTICS": "1",
    }


def run(project: Path, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        check=False,
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        timeout=1200,  # a safety net: a whole repro took more than 600 s beside three other jobs
        **options,
    )


def add_source(folder: Path) -> None:
    """The package, and DVC's settings but for a remote, which everyone chooses for himself."""
    shutil.copytree(REPOSITORY / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / ".dvc" / "plots", folder / ".dvc" / "plots")
    (folder / ".dvc" / "config").write_text("[core]\nanalytics = false\n[plots]\nhtml_template = plots/offline.html\n")


def new_project(folder: Path, changes: dict[str, Any] = TINY, roster: Collection[str] = SAMPLE) -> Path:
    """A checkout of this code with changed parameters and nothing of ours in it: no cache, no lock, no store."""
    new_checkout(folder)
    shutil.copy(REPOSITORY / ".dvcignore", folder / ".dvcignore")
    shutil.copy(REPOSITORY / ".gitignore", folder / ".gitignore")
    add_source(folder)
    detectors = yaml.safe_load((folder / "params.yaml").read_text())["detectors"]
    set_params(folder, {"detectors": {name: detectors[name] for name in roster or detectors}})
    set_params(folder, changes)
    commit_all(folder)
    return folder


def repro(project: Path, *arguments: str) -> str:
    """The output of `dvc repro`, which has to succeed."""
    done = run(project, "dvc", "repro", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number_of(project: Path, detector: str) -> str:
    """The version of a detector after the first repro, which registers the roster in its order."""
    return str([*yaml.safe_load((project / "params.yaml").read_text())["detectors"]].index(detector) + 1)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after its first `dvc repro`; tests that change anything work on a copy."""
    project = new_project(tmp_path_factory.mktemp("finished") / "project")
    (project / "repro.log").write_text(repro(project))
    return project


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished project at another path."""
    return Path(shutil.copytree(finished, tmp_path / "copied", symlinks=True))


@pytest.fixture(scope="module")
def home(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the published workspace for the tests of one file."""
    return Path(shutil.copytree(published, tmp_path_factory.mktemp("serving") / "workspace"))


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator["Running"]:
    """`medscreen serve` in that workspace."""
    from service_process import service  # it imports this module

    with service(home, home.parent / "log") as running:
        yield running


@pytest.fixture
def loaded_registry(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    def enter(project: Path) -> None:
        monkeypatch.chdir(project)
        monkeypatch.delenv("DVC_ROOT", raising=False)

    return enter


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small phantom as hospital DICOM."""
    root = tmp_path_factory.mktemp("phantom") / "export"
    phantom.find_files(PHANTOM, root, 1)
    return root


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small workspace whose detectors are evaluated and not yet registered; tests work on a copy."""
    return new_workspace(tmp_path_factory.mktemp("evaluated") / "workspace").home


@pytest.fixture(scope="session")
def published(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its detectors registered, `whole` in Production; tests work on a copy."""
    home = Path(shutil.copytree(evaluated, tmp_path_factory.mktemp("published") / "workspace"))
    publish(Layout(home, home), settings_of(home))
    return home


@pytest.fixture(scope="session")
def studied(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two small studies that nobody has searched; tests work on a copy."""
    home = Path(shutil.copytree(evaluated, tmp_path_factory.mktemp("studied") / "home"))
    return add_studies(home)


@pytest.fixture
def workspace(published: Path, tmp_path: Path) -> Layout:
    """A copy of it."""
    # MLflow remembers for the life of a process where the artefacts of a run lie: those of copies have the same ids
    _artifact_repos_cache.clear()
    home = Path(shutil.copytree(published, tmp_path / "workspace"))
    return Layout(home, home)
