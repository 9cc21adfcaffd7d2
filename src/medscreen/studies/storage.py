"""Where trials are kept: Optuna's journal below studies/, or a database that several machines share."""

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from medscreen.errors import MedscreenError
from medscreen.layout import Layout
from medscreen.studies.owner import requeue

_HEARTBEAT_S, _GRACE_S = 10, 60


def open_storage(address: str | None, layout: Layout) -> BaseStorage:
    """The storage at a database's address (postgresql://...) or in a journal's file; None: the checkout's own.

    A database has a heartbeat: a trial whose machine is gone for a minute is queued again by the others. Raises
    MedscreenError for one that can't be reached, or holds something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if address is not None and "://" in address:
        return _database(address)
    path = layout.studies_journal if address is None else Path(address).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise MedscreenError(f"{path} is no journal of Optuna's; name another file with --storage.") from error
    except OSError as error:
        raise MedscreenError(f"{path} can't be used ({error.strerror}); name another file with --storage.") from error


def is_shared(storage: BaseStorage) -> bool:
    """Whether other machines may use it as well."""
    return not isinstance(storage, JournalStorage)


def _database(address: str) -> RDBStorage:
    # what SQLAlchemy takes the bare scheme for has changed with 2.1; this one is in the extra `server`
    full = re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", address)
    shown = re.sub(r"//.*@", "//", address)
    try:
        _require_own(full, shown)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                full,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=_HEARTBEAT_S,
                grace_period=_GRACE_S,
                heartbeat_stale_trial_callback=requeue,
            )
    except (ImportError, ArgumentError) as error:
        raise MedscreenError(
            f"{shown} is no address that can be used here ({_first_line(error)}); write "
            "postgresql://USER:PASSWORD@HOST/DATABASE, and pip install 'medscreen[server]'."
        ) from error
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        raise MedscreenError(
            f"No storage can be used at {shown} ({_first_line(error)}); start the database, or correct --storage."
        ) from error


def _require_own(address: str, shown: str) -> None:
    """Raises MedscreenError for a database of somebody else, to which Optuna would add its tables."""
    engine = create_engine(address)
    try:
        tables = set(inspect(engine).get_table_names())
    finally:
        engine.dispose()
    if tables and "version_info" not in tables:
        raise MedscreenError(f"The database at {shown} holds something else than Optuna's studies; make one for them.")


def _first_line(error: Exception) -> str:
    """Why, without the address, which may hold a password."""
    cause = getattr(error, "orig", None) or error
    return re.sub(r"//\S*@", "//", " ".join(str(cause).split()))[:150]


def other_studies(storage: BaseStorage, detector: str, name: str) -> list[str]:
    """The names of studies of the same detector that are about other data, or another space."""
    return sorted(
        other for other in optuna.get_all_study_names(storage) if other.startswith(f"{detector}-") and other != name
    )


@contextmanager
def lone(layout: Layout, study: str, shared: bool) -> Iterator[None]:
    """Within it no other command searches a study of a journal; a shared storage is for many.

    Raises MedscreenError if another one does.
    """
    if shared:
        yield
        return
    folder = layout.scratch / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"study-{study}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MedscreenError(
            f"Another `medscreen study` searches {study} at this moment; wait for it, or let several machines or "
            "commands share a database with --storage (docs/studies.md)."
        ) from error
    try:
        yield
    finally:
        lock.release()
