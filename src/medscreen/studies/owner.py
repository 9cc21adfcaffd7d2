"""Whose a running trial is, and what becomes of trials whose process is gone."""

import hashlib
import platform
from collections.abc import Collection, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from medscreen.outputs import is_writing, this_writer
from medscreen.studies.attributes import OWNER, REASON, RETRY_OF

_MOST_RETRIES = 2


def this_owner() -> str:
    """A name of this process that no other has, here or on another machine."""
    return f"{_machine()}/{this_writer()}"


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial failed because its process was ended: an error of its own it would have told."""
    return trial.state == TrialState.FAIL and REASON not in trial.user_attrs


def was_queued_again(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Whether one of the trials has the parameters of this lost one."""
    return any(other.user_attrs.get(RETRY_OF) == trial.number for other in trials)


def is_of_this_machine(trial: FrozenTrial) -> bool:
    """Whether a process of this machine has it, or had."""
    return str(trial.user_attrs.get(OWNER)).partition("/")[0] == _machine()


def requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queues the parameters of a lost trial again, unless they are queued, or were lost three times."""
    trials = study.get_trials(deepcopy=False)
    if not was_queued_again(trial, trials) and _retries(trial, trials) < _MOST_RETRIES:
        study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})


def requeue_lost(study: optuna.Study, at_work: Collection[str], others: bool) -> None:
    """Fails the running trials whose process on this machine is gone, and queues them again.

    `at_work`: the owners, among this command's processes, that have been told to take a trial. `others`: whether other
    machines share the storage; what is theirs, their heartbeat tells. Killed anywhere in between and called again, it
    queues none twice and loses none.
    """
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    owned = {trial.user_attrs.get(OWNER) for trial in running}
    # a process that has just begun may not have put its name on its trial yet
    unnamed_live = others or any(owner not in owned for owner in at_work)
    for trial in running:
        if _process_is_gone(trial, unnamed_live):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.FAIL]):
        if is_lost(trial) and _process_is_gone(trial, others):
            requeue(study, trial)


def _process_is_gone(trial: FrozenTrial, unnamed_live: bool) -> bool:
    owner = trial.user_attrs.get(OWNER)
    if owner is None:
        return not unnamed_live
    return is_of_this_machine(trial) and not is_writing(str(owner).partition("/")[2])


def _retries(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    number = 0
    while (earlier := trial.user_attrs.get(RETRY_OF)) is not None:
        trial, number = trials[earlier], number + 1
    return number


def _machine() -> str:
    """Names this machine and does not say what it is called."""
    return hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
