"""Worker processes that end with the process that started them."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor

_WATCH_EVERY_S = 0.5


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of `workers` processes that end within a second after this process is killed.

    Plain workers of `concurrent.futures` would wait forever for a task from the dead parent.
    """
    return ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),))


def end_with(parent: int) -> None:
    """Ends this process within a second after `parent`, its parent process."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="end-with-parent").start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_EVERY_S)
    os._exit(1)


def available_cpus() -> int:
    """Number of processors that this process may use, by its affinity and container limits."""
    from joblib import cpu_count

    return int(cpu_count())
