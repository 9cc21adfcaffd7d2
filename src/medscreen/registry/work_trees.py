"""Git work trees of older commits, in which stages run again without changing the checkout."""

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
# environment variables in which a calling dvc, MLflow or git passes paths of the checkout
_OF_THE_CHECKOUT = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP", "MLFLOW_", "GIT_")


@contextmanager
def work_tree(layout: Layout, commit: str, keep: bool) -> Iterator[Layout]:
    """Context with the layout of a work tree of a commit, below the checkout's scratch folder.

    The work tree is removed on exit unless `keep`; those of killed processes are removed first. Raises MedscreenError
    outside a git repository.
    """
    from git import Repo
    from git.exc import GitError

    try:
        top = Path(Repo(layout.workspace, search_parent_directories=True).working_dir).resolve()
    except GitError as error:
        raise MedscreenError(f"{layout.workspace} is not in a git repository. Run the command in a clone.") from error
    folder = layout.scratch / "work-trees"
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.iterdir():
        if not leftover.name.startswith(_KEPT) and not is_writing(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)
    _git(top, "worktree", "prune")  # also work trees whose folders were removed by hand
    tree = folder / f"{_KEPT if keep else ''}{this_writer()}"
    workspace = tree / layout.workspace.resolve().relative_to(top)
    try:
        _git(top, "worktree", "add", "--quiet", "--detach", str(tree), commit)
        # a separate DVC cache, overriding the configuration of commit and user
        (workspace / ".dvc").mkdir(parents=True, exist_ok=True)
        (workspace / ".dvc" / "config.local").write_text("[cache]\n    dir = cache\n")
        yield Layout(workspace, workspace)
    finally:
        if not keep:
            shutil.rmtree(tree, ignore_errors=True)
            _git(top, "worktree", "prune")


def run_stage_again(tree: Layout, stage: str) -> None:
    """Runs one stage of dvc.yaml in the work tree, even if its lock is up to date; the output goes to the terminal.

    Raises MedscreenError if it fails. An interrupt kills its processes.
    """
    # --force alone would still read and write caches
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
            f"{stage} failed in the work tree. For the reason, keep the work tree with --keep and run "
            f"`dvc repro --single-item {stage}` there."
        )


def _kill(pid: int) -> None:
    """Kills a process with its descendants and waits for their end, since the folder they write to is removed next."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        running = [*process.children(recursive=True), process]
        for one in running:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(running, _TIME_TO_END_S)


def _git(top: Path, *arguments: str) -> None:
    # no hooks: DVC's hook would check out data
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    done = subprocess.run(command, cwd=top, env=_without("GIT_"), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MedscreenError(f"git {' '.join(arguments[:2])} failed: {' '.join(done.stderr.split())}.")


def _without(*beginnings: str) -> dict[str, str]:
    """The environment without variables whose names start with any of the prefixes."""
    return {name: value for name, value in os.environ.items() if not name.startswith(beginnings)}
