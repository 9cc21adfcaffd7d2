"""Worker processes that end with the process that started them."""

import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

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


def available_cpus(root: Path = Path("/")) -> int:
    """So many processors may this process use: not those of the machine, but its affinity and its container's share.

    The share is the quota of the control groups (versions 1 and 2), rounded up. `root`: where /proc and /sys lie.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([own, *(math.ceil(share) for share in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The processors that each control group around this process allows."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            unified = number == "0" and not controllers
            if unified or "cpu" in controllers.split(","):
                mount = root / "sys/fs/cgroup" / ("" if unified else "cpu")
                # within a container, the path may be the one that the host has for it: then only the mount is there
                inside = mount / path.lstrip("/")
                for folder in (inside, *inside.parents):
                    if folder.is_relative_to(mount):
                        yield from _quota(folder, unified)


def _quota(folder: Path, unified: bool) -> Iterator[float]:
    with suppress(OSError, ValueError, ZeroDivisionError):
        if unified:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        share = int(quota) / int(period)  # "max" and -1: no limit
        if share > 0:
            yield share
