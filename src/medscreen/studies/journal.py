"""Optuna's journal file, one record per line, checked before it is opened for writing."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._storage import JournalOperation, JournalStorageReplayResult

from medscreen.errors import MedscreenError

_OF_TRIAL = {operation for operation in JournalOperation if operation.name.startswith("SET_TRIAL")}
_OF_STUDY = {operation for operation in JournalOperation if operation.name.startswith("SET_STUDY")}
_OF_STUDY |= {JournalOperation.DELETE_STUDY, JournalOperation.CREATE_TRIAL}


def open_journal(path: Path) -> JournalStorage:
    """Opens or creates the storage in a journal file.

    An incomplete last line of a killed writer is removed, since the next record would be appended to it. Raises
    MedscreenError for another or a damaged file, which is left unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise MedscreenError(f"{path} is not a file. Name another one with --storage.")
        if path.is_file():
            _require_records(path)
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise MedscreenError(f"{path} can't be used ({error.strerror}). Name another file with --storage.") from error


def _require_records(path: Path) -> None:
    """Raises MedscreenError unless each complete line is a record; removes an incomplete last line."""
    replay, half, number = JournalStorageReplayResult(""), False, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            half = not line.endswith(b"\n")
            if half:
                break
            record = _record(line)
            if record is None and number == 1:
                raise _no_journal(path)
            if record is None or not _follows(record, replay):
                keep = f"; or keep the lines before it: head -n {number - 1} {path.name}" if number > 1 else ""
                raise MedscreenError(
                    f"{path}: line {number} is damaged, or a line before it is lost. Move the file away, and the same "
                    f"command begins a new study (finished trials stay in MLflow){keep}."
                )
            try:
                replay.apply_logs([record])
            except Exception as error:  # invalid records raise different errors in Optuna
                raise _no_journal(path) from error
    if half and number == 1:
        raise _no_journal(path)
    if half:
        _cut(path)


def _no_journal(path: Path) -> MedscreenError:
    return MedscreenError(f"{path} is not an Optuna journal. Name another file with --storage.")


def _record(line: bytes) -> dict[str, Any] | None:
    """The record in a line, None if it is not one."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(record, dict) and isinstance(record.get("op_code"), int) and "worker_id" in record
    return record if is_record else None


def _follows(record: dict[str, Any], replay: JournalStorageReplayResult) -> bool:
    """True if a record is a known operation on a study or trial of earlier records.

    Optuna skips other records silently, which is right only for deleted studies.
    """
    operation, study, trial = record["op_code"], record.get("study_id"), record.get("trial_id")
    if operation in _OF_TRIAL:
        return isinstance(trial, int) and trial in replay._trials
    if operation in _OF_STUDY:
        return isinstance(study, int) and 0 <= study < replay._next_study_id
    return operation in set(JournalOperation)


def _cut(path: Path) -> None:
    """Truncates the file after the last complete line."""
    lock = JournalFileSymlinkLock(str(path))  # held by every writer
    lock.acquire()
    try:
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


@dataclass
class JournalMark:
    """Detects that a journal in use was removed, replaced or truncated.

    Optuna caches what it has read and would continue without an error.
    """

    path: Path
    first: bytes = b""
    size: int = 0

    def still_there(self) -> bool:
        """True if the first line is unchanged and the file has not shrunk since the last call."""
        try:
            with self.path.open("rb") as file:
                first, size = file.readline(), file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                ends_whole = file.read() == b"\n"
        except OSError:
            return False
        known = not self.first or (first == self.first and size >= self.size)
        if known and ends_whole:  # an incomplete line may be removed by the next process that opens the journal
            self.first, self.size = first, size
        return known
