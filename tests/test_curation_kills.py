"""Curation killed anywhere and started again leaves the same bytes, and nothing beside them."""

import multiprocessing
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factories import FOLDERS, film, new_checkout, written
from medscreen.config.params import load_params
from medscreen.pipeline.raw import raw
from medscreen.reporting.curation_page.redaction import without_names
from medscreen.workspace.layout import Layout

pytestmark = pytest.mark.slow

POINTS = 12
PROCESSES = multiprocessing.get_context("forkserver")
LOADED_ONCE = (
    "medscreen.reporting.curation_page.page", "medscreen.pipeline.raw",
    "imagehash", "scipy.fftpack", "scipy.ndimage", "pytest",
    "sklearn.linear_model", "sklearn.model_selection", "sklearn.pipeline", "psutil", "yaml",
)  # fmt: skip
PROCESSES.set_forkserver_preload(list(LOADED_ONCE))
FILE_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with a broken file and copies of both kinds, ready for the stage."""
    home = tmp_path_factory.mktemp("kills") / "project"
    new_checkout(home, dataset="films", datasets={"films": FOLDERS | {"image_size": 32}})
    rng = np.random.default_rng(5)
    for number in range(80):
        path = home / "films" / ("normal", "abnormal")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film(40, bool(number % 2), rng)).save(path)
    shutil.copy(path, path.with_name("again.png"))
    Image.fromarray(np.asarray(Image.open(path)) // 2).save(path.with_name("darker.png"))
    written(path.with_name("broken.png"), "no picture")
    layout = Layout(home, home)
    raw(layout, load_params(layout.params))
    without_names({}, layout.names_key)  # one key for all copies of the project
    return home


def stage(home: Path, point: int, count: Any) -> None:
    """`python -m medscreen.pipeline.curate`, ended at the n-th time that it touches a file, as a power cut would."""
    process = os.getpid()

    def reached(event: str, arguments: tuple[Any, ...]) -> None:
        # not those that its workers open
        if event in FILE_OPERATIONS and os.getpid() == process and str(home) in str(arguments[0]):
            count.value += 1
            if count.value == point:
                os.kill(process, signal.SIGKILL)

    multiprocessing.set_start_method("fork", force=True)  # of its workers: what it has when it is started by itself
    os.chdir(home)
    sys.addaudithook(reached)
    sys.argv = ["curate"]
    runpy.run_module("medscreen.pipeline.curate", run_name="__main__")


def run(home: Path, point: int = 0) -> int:
    """How many file operations it came to; `point` 0 lets it end."""
    count = PROCESSES.Value("i", 0)
    process = PROCESSES.Process(target=stage, args=(home, point, count))
    process.start()
    process.join(120)
    assert process.exitcode == (-signal.SIGKILL if point else 0)
    return int(count.value)


def left(home: Path) -> dict[str, bytes]:
    """Every file that the stage left, by its name; locks are none."""
    files = [path for top in ("data", "reports") for path in (home / top).rglob("*") if path.is_file()]
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


def test_a_killed_curation_starts_again_with_the_same_bytes(project: Path, tmp_path: Path) -> None:
    undisturbed = Path(shutil.copytree(project, tmp_path / "undisturbed"))
    operations = run(undisturbed)
    expected = left(undisturbed)
    assert {"reports/curation.json", "data/curation.html", "data/curated/test/images.npy"} <= set(expected)
    assert b"broken.png" in expected["data/curation.json"]
    assert b"broken.png" not in expected["reports/curation.json"]
    assert operations > 3 * POINTS
    for point in np.linspace(1, operations, POINTS).astype(int):
        home = Path(shutil.copytree(project, tmp_path / f"killed-{point}"))
        run(home, int(point))
        run(home)
        assert left(home) == expected, f"killed at {point} of {operations}"


def test_a_curation_killed_while_it_replaces_former_results_keeps_or_renews_them(project: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(project, tmp_path / "home"))
    operations = run(home)
    expected = left(home)
    for point in np.linspace(operations // 2, operations, 4).astype(int):
        run(home, int(point))
        assert {name for name in left(home) if ".partial" not in name and ".decoded" not in name} <= set(expected)
        run(home)
        assert left(home) == expected, f"killed at {point} of {operations}"
