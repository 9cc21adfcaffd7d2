"""Which study of its name this is: one that was lost and begun anew has another identity."""

import time
from uuid import uuid4

import optuna

from medscreen.workspace.digests import digest_of

IDENTITY = "medscreen.identity"
"""The study's user attribute."""
_PATIENCE_S = 3


def identity_of(study: optuna.Study, is_new: bool) -> str:
    """The identity of a study, given to it unless it has one; `is_new`: this process has just made the study.

    A study that an earlier medscreen began has none. Its first trial says which it is, so that two machines that go on
    with it at once agree.
    """
    known = study.user_attrs.get(IDENTITY)
    until = time.monotonic() + (0 if is_new or study.get_trials(deepcopy=False) else _PATIENCE_S)
    while known is None and time.monotonic() < until:  # whoever has just made it gives it one
        time.sleep(0.1)
        known = study.user_attrs.get(IDENTITY)
    if known is None:
        begun = next((trial.datetime_start for trial in study.get_trials(deepcopy=False)), None)
        is_older = begun is not None and not is_new
        known = digest_of(f"{study.study_name} {begun:%Y-%m-%dT%H:%M:%S}") if is_older else uuid4().hex
        study.set_user_attr(IDENTITY, known)
    return str(known)
