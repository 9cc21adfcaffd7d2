import os
import subprocess
import sys
import time

import psutil

from medscreen.processes import worker_pool

KILLED = """
import os, time
from medscreen.processes import worker_pool
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
