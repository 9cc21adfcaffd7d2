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
    """A process and what it does; `owner` is its name in the storage, "" until it has begun."""

    def __init__(self, job: Job, number: int, environment: dict[str, str]) -> None:
        self.pipe, end = _SPAWN.Pipe()
        self.number, self.owner = number, ""
        self.task: Task | None = None
        with _environment(environment), _deaf():
            self.process: BaseProcess = _SPAWN.Process(target=work, args=(job, number, end), daemon=True)
            self.process.start()
        end.close()


class Crew:
    """Up to so many processes, each with its share of the cores or a GPU of its own.

    They are ended when the `with` block is left, whatever they are at.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._most, self._deaths = job, workers, 0
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Crew":
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
        """How many wait for a task."""
        return sum(bool(worker.owner) and worker.task is None for worker in self._workers)

    @property
    def at_work(self) -> list[str]:
        """The owners that have a task."""
        return [worker.owner for worker in self._workers if worker.task is not None]

    def call(self, tasks: int) -> None:
        """Begins the processes that so many tasks can use; a study that has ended loads no library for nothing."""
        for number in range(len(self._workers), min(tasks, self._most)):
            self._workers.append(self._begin(number))

    def give(self, task: Task) -> None:
        """Hands a task to one that is idle."""
        worker = next(worker for worker in self._workers if worker.owner and worker.task is None)
        worker.task = task
        with suppress(OSError):  # it has just died, which `ended` sees
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
                said = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                self._workers[place] = self._after(worker)
                if worker.task is not None:
                    found.append((worker.task, f"{DIED} (exit status {worker.process.exitcode})"))
                continue
            if not worker.owner:
                worker.owner = said
            elif worker.task is not None:
                found.append((worker.task, said))
                worker.task = None
        return found

    def _after(self, dead: _Worker) -> _Worker:
        self._deaths += 1
        if self._deaths > _MOST_DEATHS or (not dead.owner and self._deaths > 1):
            raise MedscreenError(
                f"{self._deaths} worker processes have ended by themselves, the last with exit status "
                f"{dead.process.exitcode}: is memory short? Fewer at once: --workers 1. What is finished is kept."
            )
        return self._begin(dead.number)

    def _begin(self, number: int) -> _Worker:
        return _Worker(self._job, number, _environment_of(self._job, number))


def _environment_of(job: Job, number: int) -> dict[str, str]:
    threads = str(job.compute.threads)
    about = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    if job.compute.device == "cuda":  # one worker a device, in turn
        devices = visible_gpus()
        about["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    return about


def visible_gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import torch

    return [str(index) for index in range(max(1, torch.cuda.device_count()))]


@contextmanager
def _deaf() -> Iterator[None]:
    """What is begun inside does not hear Ctrl-C, from its first moment on: it is for the command."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _environment(more: dict[str, str]) -> Iterator[None]:
    """What a process that is begun inside finds in its environment; threads are counted when libraries are loaded."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
