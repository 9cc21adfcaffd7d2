"""The storage of trials: Optuna's journal below studies/, or a database that several machines share."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import without_password, without_secrets
from medscreen.studies.journal import open_journal
from medscreen.studies.optuna_logging import quiet
from medscreen.studies.trial_recovery import place_of, requeue
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout

_HEARTBEAT_S, _GRACE_S = 10, 60
_OPTUNAS = "version_info"  # a table that every database of Optuna's has


def open_storage(address: str | None, layout: Layout) -> BaseStorage:
    """The storage at a database's address (postgresql://...) or in a journal's file; None: the checkout's own.

    A database has a heartbeat: a trial whose machine is gone for a minute is queued again by the others. Raises
    MedscreenError for one that can't be reached, or holds something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if _is_database(address):
        return _database(str(address))
    return open_journal(journal_of(address, layout))


def existing_storage(address: str | None, layout: Layout) -> BaseStorage:
    """The same for whoever only looks: nothing is made where there is nothing, which raises MedscreenError."""
    if _is_database(address):
        where = without_password(str(address))
        there = _OPTUNAS in _tables(str(address))
    else:
        where = str(journal_of(address, layout))
        there = Path(where).is_file()  # Optuna would make the file
    storage = open_storage(address, layout) if there else None
    if storage is None or not optuna.get_all_study_names(storage):
        raise MedscreenError(f"There is no study in {where} yet: `medscreen study DETECTOR` begins one.")
    return storage


def mark_of(address: str | None, layout: Layout) -> str:
    """A digest for a storage as this checkout on this machine sees it, which does not reveal where it is."""
    # greedy, and not as it is printed: no password may make two databases one
    bare = re.sub(r"//.*@", "//", str(address)).partition("?")[0]
    where = bare if _is_database(address) else str(journal_of(address, layout))
    return digest_of(f"{place_of(layout)} {where}")[:16]


def is_shared(storage: BaseStorage) -> bool:
    """True if other machines may use it as well."""
    return not isinstance(storage, JournalStorage)


@contextmanager
def reached(address: str | None, layout: Layout) -> Iterator[None]:
    """Within it a storage that is gone, or takes no more, is one sentence."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise MedscreenError(
            f"The storage at {without_password(address or 'studies/')} is gone ({_why(error)}); what has ended is "
            "kept, and the same command goes on when it is back."
        ) from error
    except OSError as error:
        journal = str(journal_of(address, layout))
        if not str(error.filename).startswith(journal):  # it is about something else
            raise
        raise MedscreenError(
            f"{journal} can't be written ({error.strerror}); what has ended is kept. Correct that, or name another "
            "file with --storage."
        ) from error


def _is_database(address: str | None) -> bool:
    return address is not None and "://" in address


def journal_of(address: str | None, layout: Layout) -> Path:
    """The file of a journal."""
    # resolved: Optuna's lock is a link to the path as it is given
    return layout.studies_journal if address is None else Path(address).expanduser().resolve()


def _database(address: str) -> RDBStorage:
    where = without_password(address)
    if (tables := _tables(address)) and _OPTUNAS not in tables:  # Optuna would add its tables to somebody's
        raise MedscreenError(f"The database at {where} holds something else than Optuna's studies; make one for them.")
    with _one_sentence(where), quiet():
        return RDBStorage(
            _full(address),
            engine_kwargs={"pool_pre_ping": True},
            heartbeat_interval=_HEARTBEAT_S,
            grace_period=_GRACE_S,
            heartbeat_stale_trial_callback=requeue,
        )


def _tables(address: str) -> set[str]:
    with _one_sentence(without_password(address)):
        engine = create_engine(_full(address))
        try:
            return set(inspect(engine).get_table_names())
        finally:
            engine.dispose()


def _full(address: str) -> str:
    """A PostgreSQL address with psycopg2 named as its driver, since SQLAlchemy 2.1 changed the default driver."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", address)


@contextmanager
def _one_sentence(where: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, ArgumentError) as error:
        raise MedscreenError(
            f"{where} is no address that can be used here ({_why(error)}); write "
            "postgresql://USER:PASSWORD@HOST/DATABASE, and pip install 'medscreen[server]'."
        ) from error
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        raise MedscreenError(
            f"No storage can be used at {where} ({_why(error)}); start the database, or correct --storage."
        ) from error


def _why(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return without_secrets(" ".join(str(cause).split()))[:150]


def other_studies(storage: BaseStorage, detector: str, name: str) -> list[str]:
    """The names of studies of the same detector that are about other data, or another space."""
    return sorted(
        other for other in optuna.get_all_study_names(storage) if other.startswith(f"{detector}-") and other != name
    )


@contextmanager
def lone(layout: Layout, study: str) -> Iterator[None]:
    """Within it no other command of this checkout searches that study; raises MedscreenError if one does."""
    folder = layout.scratch / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"study-{study}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MedscreenError(
            f"Another `medscreen study` searches {study} at this moment; wait for it, or let several machines "
            "share a database with --storage (docs/studies.md)."
        ) from error
    try:
        yield
    finally:
        lock.release()
