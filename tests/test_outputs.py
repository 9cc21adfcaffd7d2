import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from medscreen.outputs import is_writing, replaced


@pytest.fixture
def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_folder(target: Path, **files: str) -> None:
    with replaced(target) as partial:
        partial.mkdir()
        for name, text in files.items():
            (partial / name).write_text(text)


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "report.json"
    with replaced(target) as partial:
        partial.write_text("new")
        assert partial.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["report.json"]


def test_the_former_file_is_seen_until_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")
    with replaced(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_a_folder_replaces_the_former_one_whole(tmp_path: Path) -> None:
    target = tmp_path / "train"
    write_folder(target, a="1", b="2")
    write_folder(target, c="3")
    assert names(target) == ["c"]
    assert names(tmp_path) == ["train"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_failure_leaves_the_former_content(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("old")
    else:
        write_folder(target, old="old")
    with pytest.raises(RuntimeError, match="half way"), replaced(target) as partial:
        if kind == "file":
            partial.write_text("half")
        else:
            partial.mkdir()
            (partial / "half").write_text("half")
        raise RuntimeError("half way")
    assert (target if kind == "file" else target / "old").read_text() == "old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_block_that_writes_nothing_fails_and_leaves_the_former_content(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "file":
        target.write_text("old")
    else:
        write_folder(target, old="old")
    with pytest.raises(FileNotFoundError), replaced(target):
        pass
    assert (target if kind == "file" else target / "old").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_what_a_dead_writer_left_is_removed(tmp_path: Path, dead_pid: int) -> None:
    (tmp_path / f".out.partial-{dead_pid}").mkdir()
    (tmp_path / f".out.partial-{dead_pid}" / "half").write_text("half")
    (tmp_path / ".out.partial-notanumber").write_text("half")
    with replaced(tmp_path / "out") as partial:
        partial.write_text("new")
    assert names(tmp_path) == ["out"]


def test_a_folder_whose_writer_died_between_two_renames_comes_back(tmp_path: Path, dead_pid: int) -> None:
    former = tmp_path / f".out.partial-{dead_pid}-1-former"
    former.mkdir()
    (former / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), replaced(tmp_path / "out"):
        raise ZeroDivisionError
    assert names(tmp_path / "out") == ["old"]


def test_what_a_living_writer_writes_stays(tmp_path: Path) -> None:
    parent = psutil.Process(os.getppid())
    living = tmp_path / f".out.partial-{parent.pid}-{int(parent.create_time() * 100)}"
    living.write_text("half")
    with replaced(tmp_path / "out") as partial:
        partial.write_text("new")
    assert living.read_text() == "half"


def test_a_writer_that_ended_and_was_not_waited_for_writes_no_more() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process = psutil.Process(child.pid)
    writer = f"{process.pid}-{int(process.create_time() * 100)}"
    assert is_writing(writer)
    process.kill()
    deadline = time.monotonic() + 10
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_writing(writer)
    child.wait()


def test_leftovers_of_other_targets_stay(tmp_path: Path, dead_pid: int) -> None:
    other = tmp_path / f".other.partial-{dead_pid}"
    other.write_text("half")
    with replaced(tmp_path / "out") as partial:
        partial.write_text("new")
    assert other.exists()


def test_a_dead_writer_with_this_very_pid_is_no_hindrance(tmp_path: Path) -> None:
    # in a container, a stage often gets the same pid again
    (tmp_path / f".out.partial-{os.getpid()}").mkdir()
    write_folder(tmp_path / "out", new="new")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["new"]
