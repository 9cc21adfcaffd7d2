"""Optuna storage of trials: a journal file below studies/, or a database shared by several machines."""

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
_OPTUNAS = "version_info"  # a table in every Optuna database


def open_storage(address: str | None, layout: Layout) -> BaseStorage:
    """Opens the storage at a database address (postgresql://...) or journal file; None: the checkout's journal.

    Databases use a heartbeat: trials of a machine that is gone for a minute are requeued by the others. Raises
    MedscreenError if the storage can't be reached or has other content.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if _is_database(address):
        return _database(str(address))
    return open_journal(journal_of(address, layout))


def existing_storage(address: str | None, layout: Layout) -> BaseStorage:
    """Opens an existing storage without creating one; raises MedscreenError if it has no study."""
    if _is_database(address):
        where = without_password(str(address))
        there = _OPTUNAS in _tables(str(address))
    else:
        where = str(journal_of(address, layout))
        there = Path(where).is_file()  # Optuna would create the file
    storage = open_storage(address, layout) if there else None
    if storage is None or not optuna.get_all_study_names(storage):
        raise MedscreenError(f"{where}: there is no study yet. Start one with `medscreen study DETECTOR`.")
    return storage


def mark_of(address: str | None, layout: Layout) -> str:
    """Anonymous identifier (16 hexadecimal characters) of a storage as used from this checkout on this machine."""
    # greedy, unlike for printing: an @ in a password must not merge two databases
    bare = re.sub(r"//.*@", "//", str(address)).partition("?")[0]
    where = bare if _is_database(address) else str(journal_of(address, layout))
    return digest_of(f"{place_of(layout)} {where}")[:16]


def is_shared(storage: BaseStorage) -> bool:
    """True if other machines may use the storage, too."""
    return not isinstance(storage, JournalStorage)


@contextmanager
def reached(address: str | None, layout: Layout) -> Iterator[None]:
    """Context that turns errors of an unreachable or read-only storage into MedscreenError."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        raise MedscreenError(
            f"The storage at {without_password(address or 'studies/')} can't be reached ({_why(error)}). Finished "
            "trials are kept; run the same command when it is back."
        ) from error
    except OSError as error:
        journal = str(journal_of(address, layout))
        if not str(error.filename).startswith(journal):  # an error of another file
            raise
        raise MedscreenError(
            f"{journal} can't be written ({error.strerror}); finished trials are kept. Correct that, or name another "
            "file with --storage."
        ) from error


def _is_database(address: str | None) -> bool:
    return address is not None and "://" in address


def journal_of(address: str | None, layout: Layout) -> Path:
    """Path of the journal file."""
    # resolved: Optuna's lock is a symlink to the given path
    return layout.studies_journal if address is None else Path(address).expanduser().resolve()


def _database(address: str) -> RDBStorage:
    where = without_password(address)
    if (tables := _tables(address)) and _OPTUNAS not in tables:  # Optuna would add its tables to a foreign database
        raise MedscreenError(f"{where}: the database has other tables than Optuna's. Create one for the studies.")
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
    """Adds the driver psycopg2 to a PostgreSQL address, since SQLAlchemy 2.1 changed the default driver."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", address)


@contextmanager
def _one_sentence(where: str) -> Iterator[None]:
    try:
        yield
    except (ImportError, ArgumentError) as error:
        raise MedscreenError(
            f"{where}: unsupported database address ({_why(error)}). Write "
            "postgresql://USER:PASSWORD@HOST/DATABASE, and pip install 'medscreen[server]'."
        ) from error
    except (SQLAlchemyError, RuntimeError, ValueError) as error:
        raise MedscreenError(
            f"{where}: the database can't be used ({_why(error)}). Start it, or correct --storage."
        ) from error


def _why(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return without_secrets(" ".join(str(cause).split()))[:150]


def other_studies(storage: BaseStorage, detector: str, name: str) -> list[str]:
    """Names of studies of the same detector with other data or another space."""
    return sorted(
        other for other in optuna.get_all_study_names(storage) if other.startswith(f"{detector}-") and other != name
    )


@contextmanager
def lone(layout: Layout, study: str) -> Iterator[None]:
    """Lock on a study for one command of this checkout; raises MedscreenError if another command holds it."""
    folder = layout.scratch / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"study-{study}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MedscreenError(
            f"{study}: another `medscreen study` is running. Wait for it, or share a database between machines with "
            "--storage (docs/studies.md)."
        ) from error
    try:
        yield
    finally:
        lock.release()
