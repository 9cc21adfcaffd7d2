"""Identity of a study among those of its name, and a check that its storage still holds it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import uuid4

import optuna

from medscreen.errors import MedscreenError
from medscreen.studies.journal import JournalMark, open_journal
from medscreen.workspace.digests import digest_of

IDENTITY = "medscreen.identity"
"""The study's user attribute: one that was lost and begun anew has another."""
_PATIENCE_S = 3


def identity_of(study: optuna.Study, is_new: bool) -> str:
    """The identity of a study, given to it unless it has one; `is_new`: this process has just made the study.

    A study that an earlier medscreen began has none: it is derived from the start of its first trial, so that two
    machines that go on with it at once agree.
    """
    known = study.user_attrs.get(IDENTITY)
    until = time.monotonic() + (0 if is_new or study.get_trials(deepcopy=False) else _PATIENCE_S)
    while known is None and time.monotonic() < until:  # the process that has just made it gives it one
        time.sleep(0.1)
        known = study.user_attrs.get(IDENTITY)
    if known is None:
        begun = next((trial.datetime_start for trial in study.get_trials(deepcopy=False)), None)
        is_older = begun is not None and not is_new
        known = digest_of(f"{study.study_name} {begun:%Y-%m-%dT%H:%M:%S}") if is_older else uuid4().hex
        study.set_user_attr(IDENTITY, known)
    return str(known)


class LostStudyError(MedscreenError):
    """A study that was deleted while it ran, or whose storage was removed or replaced."""


@dataclass(frozen=True)
class Presence:
    """A study, its identity, and the journal that it is in, None for a database."""

    study: optuna.Study
    identity: str
    journal: JournalMark | None

    def require(self) -> None:
        """Raises LostStudyError unless the storage still holds this very study."""
        is_kept = self.journal is None or self.journal.still_there()
        with suppress(KeyError):  # of a study that was deleted
            if is_kept and self.study.user_attrs.get(IDENTITY) == self.identity:
                return
        raise LostStudyError(
            f"The study {self.study.study_name} is no longer in its storage: somebody deleted it, or replaced the "
            "storage, while it ran. MLflow keeps what had ended; the same command begins a new study."
        )

    @contextmanager
    def required(self) -> Iterator[None]:
        """Within it what fails because the study is gone, or its journal damaged, is one sentence."""
        try:
            yield
        except MedscreenError:
            raise
        except Exception:
            self.require()
            if self.journal is not None:
                open_journal(self.journal.path)  # raises what is wrong with it
            raise
