"""Whether a study that is being searched is still in its storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna

from medscreen.errors import MedscreenError
from medscreen.studies.journal import JournalMark, open_journal
from medscreen.studies.study_identity import IDENTITY


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
        if self.journal is not None and not self.journal.still_there():
            raise self._lost()
        try:
            kept = self.study.user_attrs.get(IDENTITY)
        except KeyError as error:
            raise self._lost() from error
        if kept != self.identity:
            raise self._lost()

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
                open_journal(self.journal.path)  # says what is wrong with it
            raise

    def _lost(self) -> LostStudyError:
        return LostStudyError(
            f"The study {self.study.study_name} is no longer in its storage: somebody deleted it, or replaced the "
            "storage, while it ran. MLflow keeps what had ended; the same command begins a new study."
        )
