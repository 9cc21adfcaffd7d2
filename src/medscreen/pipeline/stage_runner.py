"""Stage runner: one run of a stage at a time, which ends with its `dvc repro`; errors are one sentence."""

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
from filelock import FileLock, Timeout

from medscreen.config.params import Params, load_params
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say
from medscreen.runtime.startup import use_own_temporary_folder
from medscreen.runtime.system_errors import fault
from medscreen.workspace.dvc_lock import keep_lock
from medscreen.workspace.layout import Layout, find_layout

Stage = Callable[[Layout, Params], None]
_WATCH_EVERY_S = 0.5
_SHELLS = {"sh", "bash", "dash", "zsh", "ksh", "fish"}


def run_stage(name: str, stage: Stage) -> None:
    """Runs one stage of the workspace around the working directory and ends the process.

    Exit status 0, or 1 after a sentence on stderr. A lock per workspace and stage prevents concurrent runs.
    """
    try:
        layout = find_layout()
        use_own_temporary_folder(layout)
        keep_lock(layout)
        params = load_params(layout.params)
        _end_with_dvc()
        with _alone(layout, name):
            stage(layout, params)
    except MedscreenError as error:
        _fail(name, str(error))
    except Exception as error:
        if (sentence := fault(error)) is None:
            raise
        _fail(name, sentence)


def _fail(name: str, sentence: str) -> NoReturn:
    say(f"medscreen {name}: {sentence}", err=True)
    sys.exit(1)


@contextmanager
def _alone(layout: Layout, name: str) -> Iterator[None]:
    workspace = hashlib.blake2b(str(layout.workspace).encode(), digest_size=6).hexdigest()
    folder = layout.scratch / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{workspace}-{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"medscreen {name}: waiting for another run of this stage to end", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _end_with_dvc() -> None:
    """Ends this process when the `dvc` process that started it ends.

    A killed dvc leaves its stage running, and the next dvc would accept the outputs of both.
    """
    parents = psutil.Process().parents()
    dvc = next((process for process in parents if _is_dvc(process)), None)
    if dvc is not None:  # else started by hand, or dvc ended during the imports
        threading.Thread(target=_watch, args=(dvc,), daemon=True, name="end-with-dvc").start()
    elif os.environ.get("DVC_STAGE") and all(p.pid == 1 or p.name() in _SHELLS for p in parents):
        raise MedscreenError("the dvc process of this stage has ended; nothing was written. Run `dvc repro` again.")


def _watch(dvc: psutil.Process) -> None:
    while _runs(dvc):
        time.sleep(_WATCH_EVERY_S)
    os._exit(1)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_dvc(process: psutil.Process) -> bool:
    try:
        return any(Path(part).name in {"dvc", "dvc.exe"} for part in process.cmdline()[:3])
    except psutil.Error:
        return False
