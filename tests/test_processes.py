import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from factories import written
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


@pytest.mark.parametrize(
    ("groups", "files", "share"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/host/path\n", {"cpu.max": "400000 100000\n"}, 4),  # that the container does not see
        (
            "7:memory:/x\n1:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("1:cpu:/d/1\n", {"cpu/d/1/cpu.cfs_quota_us": "-1\n", "cpu/d/1/cpu.cfs_period_us": "100000\n"}, 64),
        ("1:cpu:/d/1\n", {"cpu/d/cpu.cfs_quota_us": "100000\n", "cpu/d/cpu.cfs_period_us": "100000\n"}, 1),
        ("0::/\n", {"cpu.max": "garbage\n"}, 64),
        ("", {}, 64),
    ],
)
def test_the_share_of_a_container_counts_and_not_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, files: dict[str, str], share: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    written(tmp_path / "proc/self/cgroup", groups)
    for name, content in files.items():
        written(tmp_path / "sys/fs/cgroup" / name, content)
    assert available_cpus(tmp_path) == share
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    assert available_cpus(tmp_path) == min(share, 2)
