"""Runs a study: distributes trials to workers and shows them on the terminal and in MLflow."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from medscreen.errors import MedscreenError
from medscreen.studies.mlflow_sync import records_of
from medscreen.studies.optuna_logging import quiet
from medscreen.studies.study_identity import Presence, identity_of
from medscreen.studies.study_plan import Plan
from medscreen.studies.trial_attributes import HAND_SET, OBJECTIVES, OWNER
from medscreen.studies.trial_recovery import is_at, number_spent, requeue_lost
from medscreen.studies.worker import NextTrial
from medscreen.studies.worker_pool import DIED, WorkerPool
from medscreen.tracking.study_runs import StudyRuns

Show = Callable[[Sequence[FrozenTrial]], None]
_EVERY_S = 1.0
_MOST_UNRECORDED = 10


def begin(storage: BaseStorage, plan: Plan) -> tuple[optuna.Study, str]:
    """Loads or creates the study; returns it with its identity.

    The first trial of a new study is the roster's entry, as far as it lies in the space.
    """
    is_new = plan.name not in optuna.get_all_study_names(storage)
    if is_new:
        try:
            study = optuna.create_study(storage=storage, study_name=plan.name, directions=plan.directions)
        except DuplicatedStudyError:  # another machine has just created it
            is_new = False
    if not is_new:
        study = optuna.load_study(study_name=plan.name, storage=storage)
    identity = identity_of(study, is_new)
    with quiet():
        study.set_metric_names(list(OBJECTIVES[: len(plan.directions)]))  # labels in optuna-dashboard
    if not study.get_trials(deepcopy=False) and (hand_set := plan.searched.hand_set()):
        study.enqueue_trial(hand_set, user_attrs={HAND_SET: True}, skip_if_exists=True)
    return study, identity


@dataclass
class Search:
    """A running search; `place`: identifier of this checkout; `shared`: other machines may use the storage."""

    study: optuna.Study
    plan: Plan
    pool: WorkerPool
    runs: StudyRuns
    show: Show
    place: str
    shared: bool
    presence: Presence

    def run(self, wanted: int, timeout: float | None) -> None:
        """Runs trials until `wanted` have ended; after `timeout` seconds, starts no more and waits for running ones."""
        until = float("inf") if timeout is None else time.monotonic() + timeout
        drawn_at, unrecorded = 0.0, 0
        while True:
            self.presence.require()
            if time.monotonic() - drawn_at >= _EVERY_S:
                self.bring_up_to_date()
                drawn_at = time.monotonic()
            trials = self.study.get_trials(deepcopy=False)
            left = wanted - number_spent(trials)
            if time.monotonic() < until:
                here = left - _elsewhere(trials, self.pool)
                self.pool.start(here)
                for _ in range(min(self.pool.idle, here - len(self.pool.at_work))):
                    self.pool.give(NextTrial())
            if not self.pool.at_work and (left <= 0 or time.monotonic() >= until):
                break
            failed = [why for _, why in self.pool.ended(_EVERY_S) if why and not why.startswith(DIED)]
            unrecorded += len(failed)
            if unrecorded > _MOST_UNRECORDED:
                self.presence.require()
                raise MedscreenError(
                    f"The storage did not record the results of {unrecorded} trials ({failed[-1]}). Repair it and run "
                    "the command again; recorded trials are kept."
                )
        self.bring_up_to_date()

    def bring_up_to_date(self) -> None:
        """Requeues lost trials, updates the display, and logs to MLflow the trials of this checkout."""
        requeue_lost(self.study, self.pool.at_work, self.place, self.shared)
        with quiet():
            fail_stale_trials(self.study)  # trials of other machines without a heartbeat; journals have none
        trials = self.study.get_trials(deepcopy=False)
        self.show(trials)
        ours = (trial for trial in trials if not self.shared or is_at(self.place, trial))
        self.runs.show(records_of(ours, self.plan.searched))


def _elsewhere(trials: Sequence[FrozenTrial], pool: WorkerPool) -> int:
    """Number of running trials in processes of other commands."""
    ours = set(pool.at_work)
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    return sum(OWNER in trial.user_attrs and trial.user_attrs[OWNER] not in ours for trial in running)
