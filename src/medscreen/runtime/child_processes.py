"""Worker processes that end with the process that started them."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor

_WATCH_EVERY_S = 0.5


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of so many processes; when this process is killed, its workers end within a second, too.

    Those of `concurrent.futures` wait for ever for the next task of a parent that is gone.
    """
    return ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),))


def end_with(parent: int) -> None:
    """Has this process end within a second of `parent`, the process that started it."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end-with-parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_EVERY_S)
    os._exit(1)


def available_cpus() -> int:
    """So many processors may this process use: not those of the machine, but its affinity and its container's share."""
    from joblib import cpu_count

    return int(cpu_count())
