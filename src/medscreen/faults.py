"""Sentences for what fails around medscreen: disk, memory, MLflow's database, a server."""

import errno
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator

_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_DAMAGED = (
    "is damaged",
    "Move it away and restore a backup with `medscreen restore`; without one, `dvc repro publish` builds what can be "
    "rebuilt",
)
# what is wrong and what to do, by the low byte of SQLite's code
_SQLITE = {
    sqlite3.SQLITE_BUSY: ("is locked by another process", "Run the command again when that process has ended"),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", "Run the command again when that process has ended"),
    sqlite3.SQLITE_READONLY: ("can't be written", "Make the file and its folder writable for this user"),
    sqlite3.SQLITE_PERM: ("can't be read", "Make the file and its folder readable and writable for this user"),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "Check that it is a file that this user may read and write"),
    sqlite3.SQLITE_FULL: ("can't grow: its disk is full", "Make room there and run the command again"),
    sqlite3.SQLITE_IOERR: ("can't be read or written", "Make room on its disk, or have the disk checked"),
    sqlite3.SQLITE_NOMEM: ("can't be read: the memory is used up", "End other programs and run the command again"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_FOREIGN = ("is no database of this MLflow", "Move it away, or use the medscreen that made it")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def database_fault(database: object, error: sqlite3.Error) -> str:
    """What keeps SQLite from a database, and the way out: locked, read-only, full, not to be opened, or damaged."""
    # errors of the module's own, for a wrong call, have no code
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    wrong, way_out = _SQLITE.get(code, _FOREIGN)
    return f"{database} {wrong} ({error}). {way_out}."


def fault(error: BaseException) -> str | None:
    """The sentence for an error that has its cause outside medscreen; None for any other, which is a fault of the code.

    The causes are looked at, too: libraries wrap what the system told them.
    """
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, sqlite3.Error):
            return without_secrets(database_fault("MLflow's database", cause))
    for cause in chain:
        if _made_by(cause, "requests", "urllib3"):
            return without_secrets(
                f"The MLflow server no longer answers ({_short(cause)}). Run the command again when it does; what is "
                "complete is kept."
            )
    for cause in chain:
        if isinstance(cause, OSError):
            return without_secrets(_of_system(cause))
        if isinstance(cause, MemoryError):
            return "The memory is used up. End other programs, or use fewer workers or smaller images."
    if _made_by(error, "mlflow"):
        return without_secrets(f"MLflow refuses: {_short(error)}. Run the command again when that is mended.")
    return None


def without_secrets(text: str) -> str:
    """Text without users and passwords of addresses, what follows their `?`, and the secrets that MLflow is given."""
    for secret in filter(None, map(os.environ.get, _SECRETS)):
        text = text.replace(secret, "***")
    return re.sub(r"(\w+://[^\s?#]*)[?#]\S*", r"\1", re.sub(r"://[^\s/]*@", "://", text))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        # an error of the code while it deals with one of the system is the code's fault
        wraps = _made_by(following, "mlflow", "requests", "urllib3", "sqlalchemy")
        following = following.__cause__ or (following.__context__ if wraps else None)


def _made_by(error: BaseException, *packages: str) -> bool:
    # by name: to import them costs seconds
    return type(error).__module__.partition(".")[0] in packages


def _of_system(error: OSError) -> str:
    subject = str(error.filename) if error.filename is not None else "The system"
    said = f"{subject}: {error.strerror or _short(error)}."
    if error.errno in _FULL:
        return f"{said} Make room on the disks of the checkout and of {_temporary()} and run the command again."
    if error.errno in _FORBIDDEN:
        return f"{said} Make it readable and writable for this user."
    if error.errno == errno.ENOENT and error.filename is None:
        return f"{said} Set TMPDIR to a folder that can be written."
    return f"{said} Run the command again when that is mended."


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "TMPDIR"


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200].strip(". ") or type(error).__name__
