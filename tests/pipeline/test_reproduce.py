"""`medscreen reproduce` in a clone of a finished project, which has git's files and MLflow's store, no more."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import pytest

from conftest import environment, number_of, run
from medscreen.registry.versions import find_version
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout

MODEL = "phantom-detector"


@pytest.fixture
def clone(finished: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(finished), str(folder)], check=True)
    shutil.copytree(finished / "mlruns", folder / "mlruns", dirs_exist_ok=True)
    return folder


def reproduce(project: Path, detector: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(project, "medscreen", "reproduce", number_of(project, detector), *options)


def kept(project: Path) -> dict[str, bytes]:
    """All that a reproduction must not touch."""
    # of git, medscreen, DVC and Python, for their locks and the like
    own = ({".git"}, {".medscreen"}, {".dvc", "tmp"}, {".dvc", ".gitignore"}, {"__pycache__"})
    files = {path.relative_to(project): path for path in project.rglob("*") if path.is_file()}
    return {
        str(name): path.read_bytes()
        for name, path in files.items()
        if not any(folders <= {*name.parts} for folders in own) and not name.name.startswith("mlflow.db-")
    }


def work_trees(project: Path) -> list[Path]:
    listing = run(project, "git", "worktree", "list", "--porcelain").stdout
    named = [Path(line.removeprefix("worktree ")) for line in listing.splitlines() if line.startswith("worktree ")]
    lying = (project / ".medscreen" / "work-trees").glob("*")
    return sorted({*named, *lying} - {project})


def change_lineage(project: Path, detector: str, change: Callable[[dict[str, Any]], None]) -> None:
    client = open_store(Layout(project, project))
    run_id = find_version(client, MODEL, number_of(project, detector)).run_id
    # by its path: MLflow remembers where a run's files lie, and every copy of the project has the same runs
    path = Path(unquote(urlsplit(client.get_run(run_id).info.artifact_uri).path)) / "lineage.json"
    lineage = json.loads(path.read_text())
    change(lineage)
    path.write_text(json.dumps(lineage))


def commit_other_code(project: Path) -> str:
    """The commit of a change that alters a result, and of one that alters the training's code alone."""
    for name, old, new in (
        ("evaluation/bootstrap.py", "return round(float(value), 6)", "return round(float(value), 4)"),
        ("detectors/statistic/detector.py", '"""', '# another word\n"""'),
    ):
        path = project / "src" / "medscreen" / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *author, "commit", "-q", "-a", "-m", "other code"], cwd=project, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, check=True, capture_output=True, text=True)
    return head.stdout.strip()


def test_a_fresh_clone_makes_the_same_metrics_file_from_the_data_of_a_remote(clone: Path, finished: Path) -> None:
    cache = finished / ".dvc" / "cache"
    subprocess.run(["dvc", "remote", "add", "-q", "--local", "-d", "store", str(cache)], cwd=clone, check=True)
    open_store(Layout(clone, clone))  # follows the move
    before = kept(clone), kept(cache)
    done = reproduce(clone, "cnn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "curated again" not in done.stdout
    assert "evaluation.json has the same bytes" in done.stdout
    assert "was reproduced bit for bit." in done.stdout
    after = kept(clone), kept(cache)
    assert [files.keys() for files in after] == [files.keys() for files in before]
    assert after == before
    assert work_trees(clone) == []


def test_without_dvcs_data_the_phantom_is_made_again(clone: Path) -> None:
    done = reproduce(clone, "autoencoder")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "read and curated again" in done.stdout
    assert "was reproduced bit for bit." in done.stdout
    assert not (clone / "data" / "phantom").exists()
    assert work_trees(clone) == []


def test_other_code_in_the_commit_is_reported_as_a_difference(copied: Path) -> None:
    commit = commit_other_code(copied)
    change_lineage(copied, "gradient", lambda lineage: lineage["source"].update(commit=commit))
    (copied / "params.yaml").write_text((copied / "params.yaml").read_text().replace("seed: 7", "seed: 8"))
    done = reproduce(copied, "gradient", "--keep")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "another run key" in done.stdout
    assert "the same digest" in done.stdout
    assert "evaluation.json differs, most in " in done.stdout
    (tree,) = work_trees(copied)
    assert (tree / "reports" / "detectors" / "gradient" / "evaluation.json").is_file()
    assert not (tree / ".dvc" / "cache").exists()
    # the kept one stays, rounding to four decimals is within the tolerance
    done = reproduce(copied, "gradient", "--tolerance", "0.0001")
    assert done.returncode == 0, done.stdout + done.stderr
    assert work_trees(copied) == [tree]


def test_code_that_was_never_committed_is_named_before_anything_is_trained(copied: Path) -> None:
    commit = commit_other_code(copied)

    def change(lineage: dict[str, Any]) -> None:
        lineage["source"] = {"commit": commit, "uncommitted": ["params.yaml", "src/medscreen/lost.py"]}

    change_lineage(copied, "gradient", change)
    done = reproduce(copied, "gradient")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "src/medscreen/lost.py had uncommitted changes" in done.stderr
    assert "src/medscreen/detectors/statistic" in done.stderr
    assert "params.yaml" not in done.stderr
    assert work_trees(copied) == []


def test_a_commit_of_another_repository_is_said(copied: Path) -> None:
    change_lineage(copied, "gradient", lambda lineage: lineage["source"].update(commit="0123456789" * 4))
    done = reproduce(copied, "gradient")
    assert done.returncode == 2
    assert "is not in this repository; fetch it with git." in done.stderr


def test_a_version_by_threshold_has_its_package_made_again(copied: Path) -> None:
    policy = ("--policy", "specificity", "--with", "at_least=0.9")
    made = run(copied, "medscreen", "threshold", number_of(copied, "gradient"), *policy)
    assert made.returncode == 0, made.stderr
    done = run(copied, "medscreen", "reproduce", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the version has no evaluation.json" in done.stdout
    assert "was reproduced bit for bit." in done.stdout


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_one_that_is_cut_short_leaves_nothing(copied: Path, end: signal.Signals) -> None:
    process = subprocess.Popen(
        ["medscreen", "reproduce", number_of(copied, "cnn")],
        cwd=copied,
        env=environment(copied),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for_training(process)
    if end == signal.SIGINT:
        process.send_signal(end)
        assert process.wait(60) == 130
        assert not training(copied)
    else:
        os.killpg(process.pid, end)
        process.wait(60)
        assert len(work_trees(copied)) == 1
        change_lineage(copied, "gradient", lambda lineage: lineage["data"]["splits"].update(val="other"))
        done = reproduce(copied, "gradient")
        assert done.returncode == 2
        assert "val differs from the data of the version" in done.stderr
    assert work_trees(copied) == []


def training(project: Path) -> list[psutil.Process]:
    """The processes that run in a work tree of the project."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(project / ".medscreen"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for_training(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children:
            try:
                if "medscreen.pipeline.fit" in child.cmdline():
                    time.sleep(2)
                    return
            except psutil.Error:
                continue
        time.sleep(0.05)
    pytest.fail("no training began")
