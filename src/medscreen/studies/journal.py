"""Optuna's journal: a file with a record a line, checked before it is written to."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from medscreen.errors import MedscreenError


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
    half, whole = False, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            half = not line.endswith(b"\n")
            if half:
                break
            if not _is_record(line):
                if number == 1:
                    raise MedscreenError(_no_journal(path))
                raise MedscreenError(
                    f"{path}: line {number} is damaged. Move the file away, and the same command begins a new study "
                    f"(what ended stays in MLflow); or keep what stands before it: head -n {number - 1} {path.name}."
                )
            whole += len(line)
    if half and whole == 0:
        raise MedscreenError(_no_journal(path))
    if half:
        _cut(path)


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and isinstance(record.get("op_code"), int) and "worker_id" in record


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
