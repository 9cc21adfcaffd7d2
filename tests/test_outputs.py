import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medscreen.workspace.atomic_outputs import clear_partials, is_writing, replaced, this_writer


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


WAITING = (
    "import sys; from medscreen.workspace.atomic_outputs import this_writer; "
    "print(this_writer(), flush=True); sys.stdin.read()"
)


@pytest.fixture
def living() -> Iterator[tuple[psutil.Process, str]]:
    """Another process, and what it calls itself."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WAITING], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        yield psutil.Process(child.pid), child.stdout.readline().strip()
        child.communicate()


def test_what_a_living_writer_writes_stays(tmp_path: Path, living: tuple[psutil.Process, str]) -> None:
    partial = tmp_path / f".out.partial-{living[1]}"
    partial.write_text("half")
    with replaced(tmp_path / "out") as mine:
        mine.write_text("new")
    clear_partials(tmp_path)
    assert partial.read_text() == "half"


@pytest.mark.parametrize("step_s", [-86_400.0, -0.5, 0.02, 3600.0, 1e9])
def test_a_step_of_the_clock_leaves_a_living_writer_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, living: tuple[psutil.Process, str], step_s: float
) -> None:
    partial = tmp_path / f".out.partial-{living[1]}"
    partial.write_text("half")
    started, now, mine = psutil.Process.create_time, time.time, this_writer()
    # what a step changes: the time of day, and with it when the machine and its processes seem to have started
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: started(process) + step_s)
    monkeypatch.setattr(time, "time", lambda: now() + step_s)
    with replaced(tmp_path / "out") as path:
        path.write_text("new")
    clear_partials(tmp_path)
    assert partial.read_text() == "half"
    assert this_writer() == mine
    assert is_writing(mine)


def test_the_same_number_and_start_after_another_boot_is_another_process(living: tuple[psutil.Process, str]) -> None:
    number, start, boot = living[1].split("-")
    assert is_writing(f"{number}-{start}-{boot}")
    other = f"{(int(boot, 16) + 1) % 16**8:08x}"
    assert not any(is_writing(name) for name in (f"{number}-{start}-{other}", f"{number}-{int(start) + 1}-{boot}"))
    assert not any(is_writing(name) for name in (f"{number}-{start}", number, f"{number}-{start}-"))


@given(st.text() | st.from_regex(r"[0-9]{1,30}(-[0-9a-f]{0,30}){0,3}", fullmatch=True))
def test_a_name_that_no_process_has_given_itself_is_nobodys(name: str) -> None:
    assert not is_writing(name)


def test_partials_of_ended_processes_go_whatever_their_target_was(tmp_path: Path, dead_pid: int) -> None:
    boot = this_writer().rpartition("-")[2]
    day_ago = time.time() - 90_000
    for name in (f".a.gz.partial-{dead_pid}-1-{boot}", ".b.gz.partial-7-7-ffffffff", ".c.gz.partial-7-7"):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (day_ago, day_ago))
    kept = [".d.gz.partial-7-7-ffffffff", f".e.partial-{dead_pid}-1-{boot}-former", ".f.partial-download", "g"]
    for name in kept:
        (tmp_path / name).write_text("another machine's, a whole one, or none of ours")
    clear_partials(tmp_path)
    assert names(tmp_path) == kept


def test_a_writer_that_ended_and_was_not_waited_for_writes_no_more() -> None:
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", WAITING], stdin=pipe, stdout=pipe, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    process, writer = psutil.Process(child.pid), child.stdout.readline().strip()
    assert is_writing(writer)
    process.kill()
    deadline = time.monotonic() + 10
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_writing(writer)
    child.wait()
    child.stdout.close()
    child.stdin.close()


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
