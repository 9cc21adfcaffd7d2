"""Worker process of a study: runs trials, or retrains an entry with another seed."""

import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.studies import StudyParams
from medscreen.runtime.child_processes import end_with
from medscreen.studies.search_space import Searched
from medscreen.workspace.layout import Layout


@dataclass(frozen=True)
class Job:
    """Arguments of a study's worker."""

    layout: Layout
    storage: str | None
    study: str
    searched: Searched
    params: StudyParams
    compute: ComputeParams
    seed: int


@dataclass(frozen=True)
class NextTrial:
    """Task: run a trial, queued or new."""


@dataclass(frozen=True)
class Again:
    """Task: train an entry in full with a seed and write its graph to a path."""

    entry: DetectorParams
    seed: int
    graph: Path


Task = NextTrial | Again


def work(job: Job, number: int, pipe: Connection) -> None:
    """Main loop of a worker: receives tasks from a pipe and sends None or the reason of failure, until the pipe closes.

    It ends with its parent process. `number`: index of the worker in the study.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the command ends its workers
    end_with(os.getppid())
    tasks = _Tasks(job, number)
    try:
        pipe.send(tasks.owner)
        while True:
            task: Task = pipe.recv()
            pipe.send(tasks.do(task))
    except (EOFError, OSError):  # the command closed the pipe
        return


class _Tasks:
    """A worker's state between tasks; imports torch, which the command does not need."""

    def __init__(self, job: Job, number: int) -> None:
        from medscreen.data.images import load_images
        from medscreen.studies.trial_recovery import owner_at, place_of
        from medscreen.studies.trial_storage import open_storage

        self.job, self.number, self.owner = job, number, owner_at(place_of(job.layout))
        self.storage = open_storage(job.storage, job.layout)
        # val and test are never loaded in a study
        self.train, self.tune = (load_images(job.layout.curated(split)) for split in ("train", "tune"))

    def do(self, task: Task) -> str | None:
        if isinstance(task, Again):
            return self._again(task)
        try:
            self._next_trial()
        except Exception as error:  # the study or its storage is gone; the command reports that
            return type(error).__name__
        return None

    def _next_trial(self) -> None:
        import optuna
        from optuna.trial import TrialState

        from medscreen.studies.optuna_logging import quiet
        from medscreen.studies.samplers import pruner_of, sampler_of
        from medscreen.studies.trial import Objective
        from medscreen.studies.trial_recovery import number_spent

        job = self.job
        study = optuna.load_study(study_name=job.study, storage=self.storage)
        trials = study.get_trials(deepcopy=False)
        # without lost and requeued trials, so that a killed study resumes with the same seeds
        begun = number_spent(trials) + sum(trial.state == TrialState.RUNNING for trial in trials)
        study.sampler = sampler_of(job.params, job.seed, begun, self.number)
        epochs = job.params.epochs or max(job.searched.start(part).epochs for part in job.searched.parts)
        study.pruner = pruner_of(job.params, epochs)
        objective = Objective(job.searched, job.params, job.compute, job.seed, self.train, self.tune, self.owner)
        with quiet():  # errors are recorded in the trial's attributes
            study.optimize(objective, n_trials=1, catch=(Exception,))

    def _again(self, task: Again) -> str | None:
        from medscreen.errors import MedscreenError
        from medscreen.studies.trial import trained_graph
        from medscreen.workspace.atomic_outputs import replaced

        try:
            graph = trained_graph(task.entry, self.job.compute, task.seed, self.train, self.tune)
        except MedscreenError as error:
            return str(error)
        with replaced(task.graph) as partial:
            partial.write_bytes(graph)
        return None
