"""The worker processes of a study: each takes one task at a time, and one that dies harms no other."""

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
_SPAWN = multiprocessing.get_context("spawn")  # a fork would take over the locks of threads that it has not


class _Worker:
    """A process and its task; `owner` is its name in the storage, "" until it has begun."""

    def __init__(self, job: Job, number: int) -> None:
        self.pipe, end = _SPAWN.Pipe()
        self.number, self.owner = number, ""
        self.task: Task | None = None
        with _as_worker(job, number):
            self.process: BaseProcess = _SPAWN.Process(target=work, args=(job, number, end), daemon=True)
            self.process.start()
        end.close()


class WorkerPool:
    """Up to so many processes, each with its share of the cores or a GPU of its own.

    They are ended when the `with` block is left, whatever they are at.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._most, self._deaths = job, workers, 0
        self._workers: list[_Worker] = []

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            if worker.task is None:
                worker.pipe.close()  # it ends by itself
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
        """The owners that have a task."""
        return [worker.owner for worker in self._workers if worker.task is not None]

    def start(self, tasks: int) -> None:
        """Starts the processes that so many tasks can use: a study that has ended needs none."""
        for number in range(len(self._workers), min(tasks, self._most)):
            self._workers.append(_Worker(self._job, number))

    def give(self, task: Task) -> None:
        """Hands a task to one that is idle."""
        worker = next(worker for worker in self._workers if worker.owner and worker.task is None)
        worker.task = task
        with suppress(OSError):  # it has just died, which `ended` notices
            worker.pipe.send(task)

    def ended(self, timeout: float) -> list[tuple[Task, str | None]]:
        """The tasks that ended within `timeout` seconds, each with the sentence on why it failed, if it did.

        The task of a process that died is among them; another process takes its place. Raises MedscreenError when that
        has happened too often.
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
                f"{self._deaths} worker processes have ended by themselves, the last with exit status "
                f"{dead.process.exitcode}: is memory short? Fewer at once: --workers 1. What is finished is kept."
            )
        return _Worker(self._job, dead.number)


@contextmanager
def _as_worker(job: Job, number: int) -> Iterator[None]:
    """A process that is begun inside ignores Ctrl-C from its first moment on, and has its threads or its own GPU.

    Libraries count their threads when they are loaded, so that this has to stand in the environment.
    """
    before, handler = dict(os.environ), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(job.compute.threads)
        if job.compute.device == "cuda":  # one worker a device, in turn
            devices = visible_gpus()
            os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        signal.signal(signal.SIGINT, handler)


def visible_gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import torch

    return [str(index) for index in range(max(1, torch.cuda.device_count()))]
