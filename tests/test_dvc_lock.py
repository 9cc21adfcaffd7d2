"""dvc.lock as a kill leaves it, and how `medscreen use` brings back the last whole one."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.lock import make_lock
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import add_source, run
from factories import commit_all, new_checkout, one_sentence, unstated
from medscreen.errors import MedscreenError
from medscreen.workspace.dvc_lock import keep_lock, mend_lock
from medscreen.workspace.layout import Layout

ENTRY = """  fit@{name}:
    cmd: python -m medscreen.pipeline.fit {name}
    deps:
    - path: data/curated
      hash: md5
      md5: 9a100279ec1c919e89f761238b0165f0.dir
      size: 2299
      nfiles: 2
    outs:
    - path: models/{name}
      hash: md5
      md5: 9a100279ec1c919e89f761238b0165f0
      size: 22990
"""
NAMES = ("cnn", "hog", "größe")
WHOLE = ("schema: '2.0'\nstages:\n" + "".join(ENTRY.format(name=name) for name in NAMES)).encode()
OLDER = ("schema: '2.0'\nstages:\n" + ENTRY.format(name="old")).encode()


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A checkout whose lock is whole and kept, and whose last commit has an older one."""
    home = tmp_path / "checkout"
    new_checkout(home)
    (home / "dvc.lock").write_bytes(OLDER)
    commit_all(home)
    layout = Layout(home, home)
    layout.lock.write_bytes(WHOLE)
    monkeypatch.setenv("DVC_STAGE", "raw")
    keep_lock(layout)
    return layout


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bytes_left=st.integers(0, len(WHOLE) - 1), nuls=st.sampled_from([0, 1, 4096]))
@example(bytes_left=0, nuls=0)
@example(bytes_left=0, nuls=len(WHOLE))
@example(bytes_left=len(WHOLE) - 1, nuls=0)
@example(bytes_left=WHOLE.index(b"  fit@hog"), nuls=0)
def test_a_lock_that_is_cut_anywhere_is_the_last_whole_one_again(layout: Layout, bytes_left: int, nuls: int) -> None:
    for former in layout.scratch.glob("dvc.lock.broken*"):
        former.unlink()
    cut = WHOLE[:bytes_left] + b"\0" * nuls
    layout.lock.write_bytes(cut)
    assert "last copy" in mend_lock(layout)
    assert layout.lock.read_bytes() == WHOLE
    assert (layout.scratch / "dvc.lock.broken").read_bytes() == cut
    assert mend_lock(layout) == ""


@pytest.mark.parametrize(
    "broken",
    [
        b"stages: {}\n" + WHOLE + b"stages: {}\n",
        b"",
        b"[1, 2]\n",
        b"schema: '2.0'\nstages: 3\n",
        b"stages: {}\n",
        b"\xff\n",
        b"a: [\n",
    ],
)
def test_without_a_copy_it_is_gits_and_without_git_it_is_made_anew(layout: Layout, broken: bytes) -> None:
    layout.lock.write_bytes(broken)
    layout.kept_lock.write_bytes(broken)
    assert "git" in mend_lock(layout)
    assert layout.lock.read_bytes() == OLDER
    shutil.rmtree(layout.workspace / ".git")
    shutil.rmtree(layout.scratch)
    layout.lock.write_bytes(broken)
    assert "`dvc repro`" in mend_lock(layout)
    assert not layout.lock.exists()
    assert (layout.scratch / "dvc.lock.broken").read_bytes() == broken


def committed(layout: Layout) -> None:
    """Git has gone back to a commit with fewer stages than the kept lock."""
    layout.kept_lock.write_bytes(OLDER + ENTRY.format(name="cnn").encode())
    layout.lock.write_bytes(OLDER)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda layout: layout.lock.unlink(),
        lambda layout: layout.lock.write_bytes(OLDER + ENTRY.format(name="another branch").encode()),
        lambda layout: layout.lock.write_bytes(b"<<<<<<< HEAD\n" + OLDER + b"=======\n" + WHOLE + b">>>>>>> other\n"),
        lambda layout: layout.lock.write_bytes(OLDER + b"<<<<<<< HEAD\n" + WHOLE),
        committed,
    ],
)
def test_what_no_kill_has_left_stays_as_it_is(layout: Layout, change: Callable[[Layout], None]) -> None:
    change(layout)
    before = layout.lock.read_bytes() if layout.lock.exists() else None
    assert mend_lock(layout) == ""
    assert (layout.lock.read_bytes() if layout.lock.exists() else None) == before
    if before is not None and b"<<<" not in before:
        assert layout.kept_lock.read_bytes() == before


def in_git(home: Path, *command: str) -> None:
    name = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *name, *command], cwd=home, check=True, capture_output=True)


def test_a_duplicate_key_leaves_the_good_copy_as_it_is(layout: Layout) -> None:
    layout.lock.write_bytes(WHOLE + b"stages: {}\n")
    assert "last copy" in mend_lock(layout)
    assert layout.lock.read_bytes() == layout.kept_lock.read_bytes() == WHOLE


@pytest.mark.parametrize("branch", ["main", "other"])
def test_a_version_of_an_earlier_commit_or_of_a_branch_is_no_cut(layout: Layout, branch: str) -> None:
    shorter = WHOLE[: WHOLE.index(b"  fit@hog")]
    in_git(layout.home, "checkout", "-q", "-B", branch)
    for content in (shorter, WHOLE):
        layout.lock.write_bytes(content)
        in_git(layout.home, "commit", "-qam", "fit")
    in_git(layout.home, "checkout", "-q", "main")
    layout.lock.write_bytes(shorter)
    assert mend_lock(layout) == ""
    assert layout.lock.read_bytes() == layout.kept_lock.read_bytes() == shorter


@pytest.mark.parametrize(
    ("end", "is_whole"),
    [(b"1" * 32, True), (b"1" * 32 + b".dir", True), (b"1" * 31, False), (b"1" * 32 + b".di", False)],
)
def test_a_missing_line_end_is_no_cut_behind_a_whole_digest(layout: Layout, end: bytes, is_whole: bool) -> None:
    content = OLDER[: OLDER.rindex(b"9a100")] + end
    layout.lock.write_bytes(content)
    assert (mend_lock(layout) == "") == is_whole
    assert layout.lock.read_bytes() == (content if is_whole else WHOLE)


def test_broken_locks_are_all_kept(layout: Layout) -> None:
    for number, broken in enumerate([b"a", b"b", b"b", b"c"]):
        layout.lock.write_bytes(broken)
        assert f"dvc.lock.broken{['', '.2', '.2', '.3'][number]}." in mend_lock(layout)
    assert sorted(path.read_bytes() for path in layout.scratch.glob("dvc.lock.broken*")) == [b"a", b"b", b"c"]


def test_a_folder_is_told_and_a_link_stays_one(layout: Layout) -> None:
    layout.lock.unlink()
    layout.lock.symlink_to("elsewhere.lock")
    assert mend_lock(layout) == ""
    (layout.home / "elsewhere.lock").write_bytes(WHOLE[:99])
    assert "last copy" in mend_lock(layout)
    assert layout.lock.is_symlink()
    assert (layout.home / "elsewhere.lock").read_bytes() == WHOLE
    layout.lock.unlink()
    layout.lock.mkdir()
    with pytest.raises(MedscreenError, match="is a folder") as error:
        mend_lock(layout)
    one_sentence(error)


def test_a_lock_that_a_running_dvc_writes_is_left_to_it(layout: Layout) -> None:
    folder = layout.workspace / ".dvc" / "tmp"
    folder.mkdir(parents=True)
    lock = make_lock(str(folder / "lock"), tmp_dir=str(folder))
    lock.lock()
    layout.lock.write_bytes(WHOLE[:100])
    with pytest.raises(MedscreenError, match="wait") as error:
        mend_lock(layout)
    one_sentence(error)
    lock.unlock()
    assert layout.lock.read_bytes() == WHOLE[:100]


def test_only_a_stage_of_this_checkout_keeps_a_lock(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    layout.lock.write_bytes(OLDER)
    keep_lock(Layout(layout.workspace, layout.workspace / "elsewhere"))  # `dvc exp run --temp`
    monkeypatch.delenv("DVC_STAGE")
    keep_lock(layout)  # started by hand: nobody has read the lock
    assert layout.kept_lock.read_bytes() == WHOLE
    monkeypatch.setenv("DVC_STAGE", "raw")
    keep_lock(layout)
    assert layout.kept_lock.read_bytes() == OLDER


def test_use_mends_the_lock_and_dvc_reads_it(layout: Layout) -> None:
    add_source(layout.workspace)
    layout.lock.write_bytes(WHOLE[: WHOLE.index(b"hash: md5") + 4])
    broken = run(layout.workspace, "dvc", "repro", "--dry", "raw")
    assert broken.returncode != 0
    assert "dvc.lock" in broken.stderr
    used = run(layout.workspace, "medscreen", "use")
    assert used.returncode == 0, used.stderr
    assert not unstated(used.stderr, "dvc.lock", "last copy")
    mended = run(layout.workspace, "dvc", "repro", "--dry", "raw")
    assert mended.returncode == 0, mended.stderr
