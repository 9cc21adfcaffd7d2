"""User messages for errors of the environment: disk, memory, MLflow's database, server."""

import base64
import errno
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote, quote_plus

_USER, _PASSWORD, _TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_LOCKED = ("is locked by another process", "Run the command again when that process has ended")
_DAMAGED = (
    "is damaged",
    "Move it away and restore a backup with `medscreen restore`; without one, `dvc repro publish` builds what can be "
    "rebuilt",
)
# low byte of SQLite's error code -> what is wrong and what to do
_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: ("can't be written", "Make the file and its folder writable for this user"),
    sqlite3.SQLITE_PERM: ("can't be read", "Make the file and its folder readable and writable for this user"),
    sqlite3.SQLITE_CANTOPEN: ("can't be opened", "Check that it is a file that this user may read and write"),
    sqlite3.SQLITE_FULL: ("can't grow: its disk is full", "Make room there and run the command again"),
    sqlite3.SQLITE_IOERR: ("can't be read or written", "Make room on its disk, or have the disk checked"),
    sqlite3.SQLITE_NOMEM: ("can't be read: the memory is used up", "End other programs and run the command again"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_FOREIGN = ("is not a database of this MLflow version", "Move it away, or use the medscreen that made it")
_UNUSABLE = ("can't be used", "Run the command again")
# MLflow error codes about the request, which are not faults of the system even if a database error caused them
_ANSWERS = {"RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
_OTHER_VERSION = re.compile(r"out-of-date database schema|Can't locate revision")
_UPGRADE = (
    "MLflow's database was made by another version of MLflow. Run `medscreen backup`, then "
    "`mlflow db upgrade sqlite:///mlruns/mlflow.db` in the checkout; a database of a newer MLflow needs that MLflow."
)
_SILENT = {"ConnectionError", "Timeout", "TimeoutError", "NewConnectionError", "ProtocolError", "ChunkedEncodingError"}
_SHORT = 200
_ROOM = "Make room on the disks of the checkout and of {temporary} and run the command again"
_MAY_NOT = "Make it readable and writable for this user"
# errno -> what to do
_SYSTEM = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EEXIST: "Move it away and run the command again",
    errno.EISDIR: "Move that folder away and run the command again",
    errno.ENOTEMPTY: "Move that folder away and run the command again",
    errno.ENOTDIR: "Move the file that takes the place of a folder away and run the command again",
    errno.EACCES: _MAY_NOT,
    errno.EPERM: _MAY_NOT,
    errno.EROFS: _MAY_NOT,
}


def database_fault(database: object, error: sqlite3.Error) -> str:
    """Message for an SQLite error, with its remedy: locked, read-only, full, inaccessible or damaged."""
    # errors of the module sqlite3 for wrong calls have no code
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    is_foreign = code == sqlite3.SQLITE_ERROR and re.match("no such (table|column)", str(error))
    wrong, way_out = _FOREIGN if is_foreign else _SQLITE.get(code, _UNUSABLE)
    return f"{database} {wrong} ({error}). {way_out}."


def fault(error: BaseException) -> str | None:
    """Message for an error caused by the environment; None for others, which are bugs.

    The chain of causes is searched, since libraries wrap system errors.
    """
    chain = list(_chain(error))
    if any(_made_by(cause, "mlflow", "alembic") and _OTHER_VERSION.search(str(cause)) for cause in chain):
        return _UPGRADE
    is_answer = _made_by(error, "mlflow") and getattr(error, "error_code", "") in _ANSWERS
    sentence = None if is_answer else _of_causes(chain)
    if sentence is None and _made_by(error, "mlflow"):
        sentence = f"MLflow error: {_short(error)}. Correct the cause and run the command again."
    return None if sentence is None else without_secrets(sentence)


def _of_causes(chain: list[BaseException]) -> str | None:
    """Message for the first database error among the causes, else server error, else system error."""
    for cause in chain:
        if isinstance(cause, sqlite3.Error):
            return database_fault("MLflow's database", cause)
    for cause in chain:
        if _made_by(cause, "requests", "urllib3"):
            return _of_server(cause)
    for cause in chain:
        if isinstance(cause, OSError):
            return _of_system(cause)
        if isinstance(cause, MemoryError):
            return "The memory is used up. End other programs, or use fewer workers or smaller images."
    return None


def is_silent(error: BaseException) -> bool:
    """True if an error of requests means that the server did not respond."""
    return status_of(error) is None and any(kind.__name__ in _SILENT for kind in type(error).__mro__)


def status_of(error: BaseException) -> str | None:
    """HTTP status in an error of requests, None without one."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    repeated = re.search(r"too many (\d{3}) error responses", str(error))
    return str(status) if status is not None else repeated[1] if repeated else None


def _of_server(error: BaseException) -> str:
    if status := status_of(error):
        wrong = f"responds with status {status}"
    elif is_silent(error):
        wrong = f"does not respond ({_short(error)})"
    else:
        wrong = f"can't be used ({_short(error)})"
    return f"The MLflow server {wrong}. Run the command again when it is available; completed results are kept."


def without_password(address: str) -> str:
    """An address for printing: without user, password, query and fragment."""
    scheme, mark, rest = address.partition("://") if "://" in address else ("", "", address)
    before, *after = re.split("[?#]", rest, maxsplit=1)
    # an @ after ? or # may end a password or be in a token, so that the server's name is uncertain
    is_path = mark and before.startswith("/")
    remaining = "..." if "@" in "".join(after) else before if is_path else before.rpartition("@")[2]
    return f"{scheme}{mark}{remaining}"


def without_secrets(text: str) -> str:
    """Text without MLflow's credentials, and without users, passwords and queries in addresses."""
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(Basic|Bearer|(?i:authorization)\W{1,4}\w+)\s+[^\s'\"]+", r"\1 ***", text)
    text = re.sub(r"\b((?i:password|token))=[^\s&]+", r"\1=***", text)
    # each address up to the next one: passwords may contain blanks and slashes
    text = "".join(map(_without_users, re.split(r"(?<![^\s'\"(<\[=,;])(?=\w[\w+.-]*://)", text)))
    # addresses without a scheme, and ends of passwords with an @ that a library parsed as a server's name
    return re.sub(r"(?<![^\s'\"(=])[^\s'\"(=/:]+:[^\s'\"/]+@|(?<=[\"'])[^\s\"'/]+@", "", text)


def _without_users(text: str) -> str:
    """`without_secrets` for a text that starts with its only address."""
    address, mark, rest = text.partition("://")
    if not mark or not re.fullmatch(r"\w[\w+.-]*", address):
        return text
    users, at, following = rest.rpartition("@")
    if at and not rest.startswith("/"):
        # after ? or #, the @ may be part of a token
        rest = re.sub(r"^\S*", "...", following) if re.search("[?#]", users) else following
    return address + mark + re.sub(r"[?#]\S*", "", rest)


def _secrets() -> Iterator[str]:
    """The secrets in every encoding that libraries use in messages."""
    user, password, token = (os.environ.get(name, "") for name in (_USER, _PASSWORD, _TOKEN))
    for secret in filter(None, (password, token)):
        yield from (secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
    if password:
        for encoding in ("utf-8", "latin-1"):
            pair = f"{user}:{password}".encode(encoding, "replace")
            yield from (
                base64.b64encode(pair).decode().rstrip("="),
                base64.urlsafe_b64encode(pair).decode().rstrip("="),
            )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        # other errors raised while handling a system error are bugs
        wraps = _made_by(following, "mlflow", "requests", "urllib3", "sqlalchemy")
        following = following.__cause__ or (following.__context__ if wraps else None)


def _made_by(error: BaseException, *packages: str) -> bool:
    # by name, since imports cost seconds
    return type(error).__module__.partition(".")[0] in packages


def _of_system(error: OSError) -> str:
    subject = str(error.filename) if error.filename is not None else "The system"
    way_out = _SYSTEM.get(error.errno or 0, "Correct the cause and run the command again")
    if error.errno == errno.ENOENT and error.filename is None:
        way_out = "Set TMPDIR to a folder that can be written"
    temporary = "TMPDIR"
    with suppress(OSError):
        temporary = tempfile.gettempdir()
    return f"{subject}: {error.strerror or _short(error)}. {way_out.format(temporary=temporary)}."


def _short(error: BaseException) -> str:
    """The first sentences of an error's text, cut only at the end of a sentence if possible."""
    text = " ".join(str(error).split())
    if len(text) > _SHORT:
        text = text[: _SHORT + 1]
        end = max(text.rfind(mark) for mark in (". ", "! ", "? ", "; "))
        text = text[:end] if end > 0 else text.rpartition(" ")[0] + " ..."
    return (text if text.endswith("...") else text.strip(". ")) or type(error).__name__
