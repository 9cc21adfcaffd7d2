"""A work tree of an older commit, in which stages run again and nothing of the checkout is written."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import is_writing, this_writer
from medscreen.workspace.layout import Layout

_KEPT = "kept-"
_TIME_TO_END_S = 10
# variables in which a surrounding dvc, MLflow or git describes the checkout
_OF_THE_CHECKOUT = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP", "MLFLOW_", "GIT_")


@contextmanager
def work_tree(layout: Layout, commit: str, keep: bool) -> Iterator[Layout]:
    """The layout of a work tree of that commit below the checkout's scratch folder.

    It is removed in the end, however that comes, unless `keep`; what a killed process left is removed first.
    """
    from git import Repo
    from git.exc import GitError

    try:
        top = Path(Repo(layout.workspace, search_parent_directories=True).working_dir).resolve()
    except GitError as error:
        raise MedscreenError(f"{layout.workspace} is in no git repository; run the command in a clone.") from error
    folder = layout.scratch / "work-trees"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        if not leftover.name.startswith(_KEPT) and not is_writing(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)
    _git(top, "worktree", "prune")  # also those that someone has removed by hand
    tree = folder / f"{_KEPT if keep else ''}{this_writer()}"
    workspace = tree / layout.workspace.resolve().relative_to(top)
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        # a cache of its own, whatever the commit or the user has configured
        (workspace / ".dvc").mkdir(parents=True, exist_ok=True)
        (workspace / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n")
        yield Layout(workspace, workspace)
    finally:
        if not keep:
            shutil.rmtree(tree, ignore_errors=True)
            _git(top, "worktree", "prune")


def run_stage_again(tree: Layout, stage: str) -> None:
    """Runs one stage of dvc.yaml in the work tree, whatever its lock says; its output goes to the terminal.

    Raises MedscreenError where it fails. The processes end with this call, also where it is interrupted.
    """
    # a force that neither looks into a cache nor fills one
    options = ("--single-item", "--force", "--no-run-cache", "--no-commit")
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", *options, stage]
    env = _without(*_OF_THE_CHECKOUT) | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(tree.workspace / "src"),
        "DVC_NO_ANALYTICS": "1",
    }
    with subprocess.Popen(command, cwd=tree.workspace, env=env) as process:
        try:
            status = process.wait()
        except BaseException:
            _kill(process.pid)
            raise
    if status != 0:
        raise MedscreenError(
            f"{stage} failed in the work tree; with --keep it stays, and `dvc repro --single-item {stage}` says why."
        )


def _kill(pid: int) -> None:
    """Kills a process and all that it started, and waits for their end: they write into what is removed next."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        running = [*process.children(recursive=True), process]
        for one in running:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(running, _TIME_TO_END_S)


def _git(top: Path, *arguments: str) -> None:
    # no hooks: DVC's own would check out the checkout's data
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    done = subprocess.run(command, cwd=top, env=_without("GIT_"), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MedscreenError(f"git {' '.join(arguments[:2])} failed: {' '.join(done.stderr.split())}.")


def _without(*beginnings: str) -> dict[str, str]:
    """The environment without the variables whose names begin so."""
    return {name: value for name, value in os.environ.items() if not name.startswith(beginnings)}
