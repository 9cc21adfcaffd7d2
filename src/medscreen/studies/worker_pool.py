"""Worker processes of a study; each runs one task at a time, independently of the others."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from medscreen.errors import MedscreenError
from medscreen.studies.worker import Job, Task, work

_MOST_DEATHS, _PATIENCE_S = 10, 5
DIED = "its process was ended"
_SPAWN = multiprocessing.get_context("spawn")  # a fork copies locks held by threads that do not exist in the child


class _Worker:
    """A process and its task; `owner`: its name in the storage, "" until it is ready."""

    def __init__(self, job: Job, number: int) -> None:
        self.pipe, end = _SPAWN.Pipe()
        self.number, self.owner = number, ""
        self.task: Task | None = None
        with _as_worker(job, number):
            self.process: BaseProcess = _SPAWN.Process(target=work, args=(job, number, end), daemon=True)
            self.process.start()
        end.close()


class WorkerPool:
    """Pool of up to `workers` processes, each with its share of the cores or one GPU.

    Leaving the `with` block ends them, even in a task.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._most, self._deaths = job, workers, 0
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.task is None:
                worker.pipe.close()  # an idle worker ends when its pipe closes
            else:
                worker.process.kill()
        for worker in self._workers:
            worker.process.join(_PATIENCE_S)
            worker.process.kill()
            worker.process.join()

    @property
    def idle(self) -> int:
        """The number of workers without a task."""
        return sum(bool(worker.owner) and worker.task is None for worker in self._workers)

    @property
    def at_work(self) -> list[str]:
        """Owners of the workers with a task."""
        return [worker.owner for worker in self._workers if worker.task is not None]

    def start(self, tasks: int) -> None:
        """Starts as many processes as `tasks` can use, up to the maximum."""
        for number in range(len(self._workers), min(tasks, self._most)):
            self._workers.append(_Worker(self._job, number))

    def give(self, task: Task) -> None:
        """Gives a task to an idle worker."""
        worker = next(worker for worker in self._workers if worker.owner and worker.task is None)
        worker.task = task
        with suppress(OSError):  # if the worker has just died, `ended` handles it
            worker.pipe.send(task)

    def ended(self, timeout: float) -> list[tuple[Task, str | None]]:
        """The tasks that ended within `timeout` seconds, each with the reason of a failure or None.

        Dead processes are replaced, and their tasks count as failed. Raises MedscreenError if too many have died.
        """
        ready = set(wait([worker.pipe for worker in self._workers], timeout))
        found: list[tuple[Task, str | None]] = []
        for place, worker in enumerate(self._workers):
            if worker.pipe not in ready:
                continue
            try:
                answer = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                self._workers[place] = self._after(worker)
                if worker.task is not None:
                    found.append((worker.task, f"{DIED} (exit status {worker.process.exitcode})"))
                continue
            if not worker.owner:
                worker.owner = answer
            elif worker.task is not None:
                found.append((worker.task, answer))
                worker.task = None
        return found

    def _after(self, dead: _Worker) -> _Worker:
        self._deaths += 1
        if self._deaths > _MOST_DEATHS or (not dead.owner and self._deaths > 1):
            raise MedscreenError(
                f"{self._deaths} worker processes died, the last with exit status {dead.process.exitcode}, possibly "
                "for lack of memory. Use fewer: --workers 1. Finished trials are kept."
            )
        return _Worker(self._job, dead.number)


@contextmanager
def _as_worker(job: Job, number: int) -> Iterator[None]:
    """Context in which a new process ignores Ctrl-C from its start and gets its number of threads or its GPU.

    These are set in the environment, since libraries read their number of threads on import.
    """
    before, handler = dict(os.environ), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(job.compute.threads)
        if job.compute.device == "cuda":  # one worker per GPU, round robin
            devices = visible_gpus()
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGINT, handler)


def visible_gpus() -> list[str]:
    """The usable GPUs as listed in CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import torch

    return [str(index) for index in range(max(1, torch.cuda.device_count()))]
