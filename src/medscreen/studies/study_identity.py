"""Identity of a study among those of its name, and a check that it is still in its storage."""

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
"""User attribute of the study; a study that is created again after a loss gets another value."""
_PATIENCE_S = 3


def identity_of(study: optuna.Study, is_new: bool) -> str:
    """The identity of a study, assigned if it has none; `is_new`: this process has just created the study.

    For studies of earlier versions of medscreen it is derived from the start of the first trial, so that concurrent
    machines get the same.
    """
    known = study.user_attrs.get(IDENTITY)
    until = time.monotonic() + (0 if is_new or study.get_trials(deepcopy=False) else _PATIENCE_S)
    while known is None and time.monotonic() < until:  # wait for the process that has just created the study
        time.sleep(0.1)
        known = study.user_attrs.get(IDENTITY)
    if known is None:
        begun = next((trial.datetime_start for trial in study.get_trials(deepcopy=False)), None)
        is_older = begun is not None and not is_new
        known = digest_of(f"{study.study_name} {begun:%Y-%m-%dT%H:%M:%S}") if is_older else uuid4().hex
        study.set_user_attr(IDENTITY, known)
    return str(known)


class LostStudyError(MedscreenError):
    """Raised if a running study was deleted, or its storage removed or replaced."""


@dataclass(frozen=True)
class Presence:
    """Check that a study is still in its storage; `journal`: None for a database."""

    study: optuna.Study
    identity: str
    journal: JournalMark | None

    def require(self) -> None:
        """Raises LostStudyError unless this study is still in its storage."""
        is_kept = self.journal is None or self.journal.still_there()
        with suppress(KeyError):  # the study was deleted
            if is_kept and self.study.user_attrs.get(IDENTITY) == self.identity:
                return
        raise LostStudyError(
            f"The study {self.study.study_name} is no longer in its storage: it was deleted, or the storage replaced, "
            "while it ran. MLflow has the finished trials; the same command begins a new study."
        )

    @contextmanager
    def required(self) -> Iterator[None]:
        """Context that replaces errors due to a lost study or damaged journal by a MedscreenError."""
        try:
            yield
        except MedscreenError:
            raise
        except Exception:
            self.require()
            if self.journal is not None:
                open_journal(self.journal.path)  # raises MedscreenError if it is damaged
            raise
