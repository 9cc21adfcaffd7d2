import builtins
import io
import os
import subprocess
import sys
import time

import psutil
import pytest

from medscreen.runtime.child_processes import available_cpus, worker_pool

KILLED = """
import os, time
from medscreen.runtime.child_processes import worker_pool
with worker_pool(2) as pool:
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(60)
"""


def test_a_pool_works() -> None:
    with worker_pool(2) as pool:
        assert list(pool.map(abs, [-3, 4], chunksize=1)) == [3, 4]
        assert pool.submit(os.getppid).result() == os.getpid()


def test_workers_end_with_the_process_that_started_them() -> None:
    parent = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [psutil.Process(int(number)) for number in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.1)


def test_the_affinity_of_a_process_counts_and_not_the_machine() -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_share_of_a_container_counts_and_not_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """By joblib, which reads the quota of the control group; a container of half a processor has one."""
    real = builtins.open
    shares = {"/sys/fs/cgroup/cpu.max": "50000 100000\n"}
    monkeypatch.setattr(os.path, "exists", lambda path, exists=os.path.exists: path in shares or exists(path))
    monkeypatch.setattr(
        builtins, "open", lambda file, *a, **k: io.StringIO(shares[file]) if file in shares else real(file, *a, **k)
    )
    assert available_cpus() == 1
