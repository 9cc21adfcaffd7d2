"""A work tree of an older commit, in which stages run again and nothing of the checkout is written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import is_writing, this_writer
from medscreen.workspace.layout import Layout

_KEPT = "kept-"
_TIME_TO_END_S = 10
# what a surrounding dvc, MLflow or git says of the checkout
_OF_THE_CHECKOUT = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP", "MLFLOW_", "GIT_")


@contextmanager
def work_tree(layout: Layout, commit: str, keep: bool) -> Iterator[Layout]:
    """The layout of a work tree of that commit below the checkout's scratch folder.

    It is removed in the end, however that comes, unless `keep`; what a killed process left is removed first.
    """
    top, below = _repository(layout)
    folder = layout.scratch / "work-trees"
    _remove_leftovers(top, folder)
    tree = folder / f"{_KEPT if keep else ''}{this_writer()}"
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        # a cache of its own, whatever the commit or the user has configured
        (tree / below / ".dvc").mkdir(parents=True, exist_ok=True)
        (tree / below / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n")
        yield Layout(tree / below, tree / below)
    finally:
        if not keep:
            _remove(top, tree)


def run_stage_again(tree: Layout, stage: str) -> None:
    """Runs one stage of dvc.yaml in the work tree, whatever its lock says; its words go to the terminal.

    Raises MedscreenError where it fails. The processes end with this call, also where it is interrupted.
    """
    # a force that neither looks into a cache nor fills one
    options = ("--single-item", "--force", "--no-run-cache", "--no-commit")
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", *options, stage]
    with subprocess.Popen(command, cwd=tree.workspace, env=_environment(tree)) as process:
        try:
            status = process.wait()
        except BaseException:
            _end(process.pid)
            raise
    if status != 0:
        raise MedscreenError(
            f"{stage} failed in the work tree; with --keep it stays, and `dvc repro --single-item {stage}` says why."
        )


def _environment(tree: Layout) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_CHECKOUT)}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(tree.workspace / "src"),
        "DVC_NO_ANALYTICS": "1",
    }


def _end(pid: int) -> None:
    """Ends a process and all that it started, and waits for that: they write into what is removed next."""
    try:
        process = psutil.Process(pid)
        running = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in running:
        one.terminate()
    _, stubborn = psutil.wait_procs(running, _TIME_TO_END_S)
    for one in stubborn:
        one.kill()
    psutil.wait_procs(stubborn, _TIME_TO_END_S)


def _repository(layout: Layout) -> tuple[Path, Path]:
    """The folder of the git repository, and where the workspace lies below it."""
    from git import Repo
    from git.exc import GitError

    try:
        top = Path(Repo(layout.workspace, search_parent_directories=True).working_dir).resolve()
    except GitError as error:
        raise MedscreenError(f"{layout.workspace} is in no git repository; run the command in a clone.") from error
    return top, layout.workspace.resolve().relative_to(top)


def _remove_leftovers(top: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        if not leftover.name.startswith(_KEPT) and not is_writing(leftover.name):
            _remove(top, leftover)
    _git(top, "worktree", "prune")  # those that someone has removed by hand


def _remove(top: Path, tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    _git(top, "worktree", "prune")


def _git(top: Path, *arguments: str) -> None:
    # no hooks: DVC's own would check out the checkout's data
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(command, cwd=top, env=clean, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MedscreenError(f"git {' '.join(arguments[:2])} failed: {' '.join(done.stderr.split())}.")
