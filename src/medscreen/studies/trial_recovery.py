"""Owners of running trials, and retries of trials whose process has died.

Optuna's RetryHeartbeatStaleTrialCallback is not applicable: journals have no heartbeat, and it copies all user
attributes, including the dead owner.
"""

import hashlib
import platform
from collections.abc import Collection, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.studies.trial_attributes import HAND_SET, OWNER, REASON, RETRY_OF
from medscreen.workspace.atomic_outputs import is_writing, this_writer
from medscreen.workspace.layout import Layout

_MOST_RETRIES = 2


def place_of(layout: Layout) -> str:
    """Anonymous identifier (8 hexadecimal characters) of this checkout on this machine."""
    return hashlib.blake2b(f"{platform.node()} {layout.home}".encode(), digest_size=4).hexdigest()


def owner_at(place: str) -> str:
    """Name of this process as owner of trials, unique across machines; `place`: see `place_of`."""
    return f"{place}/{this_writer()}"


def is_at(place: str, trial: FrozenTrial) -> bool:
    """True if a process of the checkout `place` runs or ran the trial."""
    return str(trial.user_attrs.get(OWNER)).partition("/")[0] == place


def is_lost(trial: FrozenTrial) -> bool:
    """True if a trial failed because its process died; errors raised in a trial leave a reason."""
    return trial.state == TrialState.FAIL and REASON not in trial.user_attrs


def number_spent(trials: Sequence[FrozenTrial]) -> int:
    """Number of finished trials, without lost and requeued ones."""
    again = _queued_again(trials)
    return sum(trial.state.is_finished() and not (is_lost(trial) and trial.number in again) for trial in trials)


def _queued_again(trials: Sequence[FrozenTrial]) -> set[int]:
    """Numbers of the lost trials that were requeued."""
    return {trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs}


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Requeues a lost trial unless it was requeued already or lost three times."""
    trials = study.get_trials(deepcopy=False)
    if trial.number not in _queued_again(trials) and _retries(trial, trials) < _MOST_RETRIES:
        # the process may have died before it suggested all queued parameters
        queued = trial.system_attrs.get("fixed_params", {})
        kept = {HAND_SET: True} if HAND_SET in trial.user_attrs else {}
        study.enqueue_trial({**queued, **trial.params}, user_attrs={RETRY_OF: trial.number, **kept})


def requeue_lost(study: optuna.Study, at_work: Collection[str], place: str, others: bool) -> None:
    """Marks running trials as failed if their process has died, and requeues lost trials.

    `at_work`: owners of this command's workers that have a task. `place`: this checkout, see `place_of`. `others`: True
    if other checkouts may use the storage; their trials are left to the heartbeat. Idempotent, also after a kill.
    """
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    owned = {trial.user_attrs.get(OWNER) for trial in running}
    # a process may not have set the owner of its trial yet
    unnamed_live = others or any(owner not in owned for owner in at_work)
    for trial in running:
        if OWNER in trial.user_attrs:
            gone = (not others or is_at(place, trial)) and not is_writing(trial.user_attrs[OWNER].partition("/")[2])
        else:
            gone = not unnamed_live
        if gone:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.FAIL]):
        if is_lost(trial) and (not others or is_at(place, trial)):
            requeue(study, trial)


def _retries(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    number = 0
    while (earlier := trial.user_attrs.get(RETRY_OF)) is not None:
        trial, number = trials[earlier], number + 1
    return number
