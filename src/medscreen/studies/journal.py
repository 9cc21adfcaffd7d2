"""Optuna's journal: a file with a record a line, checked before it is written to."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation

from medscreen.errors import MedscreenError

_OF_STUDY = {
    JournalOperation.DELETE_STUDY,
    JournalOperation.SET_STUDY_USER_ATTR,
    JournalOperation.SET_STUDY_SYSTEM_ATTR,
    JournalOperation.CREATE_TRIAL,
}
_OF_TRIAL = {
    JournalOperation.SET_TRIAL_PARAM,
    JournalOperation.SET_TRIAL_STATE_VALUES,
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
    JournalOperation.SET_TRIAL_USER_ATTR,
    JournalOperation.SET_TRIAL_SYSTEM_ATTR,
}


def open_journal(path: Path) -> JournalStorage:
    """The storage in a journal's file, which is made if there is none.

    The half of a line that a killed writer left is taken away: the next line would be joined to it. Raises
    MedscreenError for a file that is no journal, or a damaged one; it is left as it is.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise MedscreenError(f"{path}: it is no file. Name another one with --storage.")
        if path.is_file():
            _require_records(path)
        try:
            return JournalStorage(JournalFileBackend(str(path)))
        except OSError:
            raise
        except Exception as error:  # records that Optuna can't follow fail in many ways
            raise MedscreenError(_no_journal(path)) from error
    except OSError as error:
        raise MedscreenError(f"{path} can't be used ({error.strerror}); name another file with --storage.") from error


def _no_journal(path: Path) -> str:
    return f"{path} is no journal of Optuna's; name another file with --storage."


def _require_records(path: Path) -> None:
    """Raises MedscreenError unless each whole line is a record; half of one at the end is taken away."""
    half, whole, told = False, 0, _Told()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            half = not line.endswith(b"\n")
            if half:
                break
            record = _record(line)
            if record is None and number == 1:
                raise MedscreenError(_no_journal(path))
            if record is None or not told.follows(record):
                keep = f"; or keep what stands before it: head -n {number - 1} {path.name}" if number > 1 else ""
                raise MedscreenError(
                    f"{path}: line {number} is damaged, or a line before it is lost. Move the file away, and the same "
                    f"command begins a new study (what ended stays in MLflow){keep}."
                )
            whole += len(line)
    if half and whole == 0:
        raise MedscreenError(_no_journal(path))
    if half:
        _cut(path)


def _record(line: bytes) -> dict[str, Any] | None:
    """The record in a line, None where it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("op_code"), int) and "worker_id" in record
    return record if is_record else None


@dataclass
class _Told:
    """The studies and trials that the records so far have made: Optuna passes over what is written of any other.

    `studies`: number -> name of those that are not deleted, `made` of them in all.
    """

    studies: dict[int, str] = field(default_factory=dict)
    made: int = 0
    trials: int = 0

    def follows(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is of an operation that Optuna has, on a study or a trial that was made before it."""
        operation = record["op_code"]
        if operation == JournalOperation.CREATE_STUDY:
            # of two processes that make a study of one name, the second made none
            if record.get("study_name") not in self.studies.values():
                self.studies[self.made] = str(record.get("study_name"))
                self.made += 1
            return True
        if operation in _OF_STUDY:
            study = record.get("study_id")
            if not isinstance(study, int) or not 0 <= study < self.made:
                return False
            if operation == JournalOperation.DELETE_STUDY:
                self.studies.pop(study, None)
            elif operation == JournalOperation.CREATE_TRIAL and study in self.studies:
                self.trials += 1
            return True
        if operation in _OF_TRIAL:
            trial = record.get("trial_id")
            return isinstance(trial, int) and 0 <= trial < self.trials
        return operation in set(JournalOperation)


def _cut(path: Path) -> None:
    """Takes away what stands behind the last whole line."""
    lock = JournalFileSymlinkLock(str(path))  # which every writer takes
    lock.acquire()
    try:
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


@dataclass
class JournalMark:
    """Tells whether a journal is still the file that a study is being written to.

    Optuna keeps what it has read, and would go on beside a file that was removed, replaced or cut short.
    """

    path: Path
    first: bytes = b""
    size: int = 0

    def still_there(self) -> bool:
        """Whether it begins as before and has lost nothing since the last call."""
        try:
            with self.path.open("rb") as file:
                first, size = file.readline(), file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                ends_whole = file.read() == b"\n"
        except OSError:
            return False
        known = not self.first or (first == self.first and size >= self.size)
        if known and ends_whole:  # half a line may be cut by the next process that opens the journal
            self.first, self.size = first, size
        return known
