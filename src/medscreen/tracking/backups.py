"""Backup and restore of MLflow's store and the studies as one compressed tar."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.runtime.system_errors import database_fault, without_password
from medscreen.tracking.backup_archive import unpack, write
from medscreen.tracking.server import server_address
from medscreen.tracking.store import own_address, relocate, store_lock
from medscreen.tracking.store_swap import FROM_GIT, STUDIES, exchange, settle
from medscreen.workspace.atomic_outputs import clear_partials, replaced
from medscreen.workspace.layout import Layout
from medscreen.workspace.process_lock import process_lock


@dataclass(frozen=True)
class Backup:
    """A written backup: `size` in bytes, numbers of files, runs and registered versions."""

    path: Path
    size: int
    files: int
    runs: int
    versions: int


def back_up(layout: Layout, target: Path) -> Backup:
    """Writes the checkout's store and studies to the new file `target`; trainings may run meanwhile.

    Raises MedscreenError if the store is missing or damaged, or `target` exists or can't be written.
    """
    _require_own_store(layout)
    _require_free(layout, target)
    with _alone(layout):
        with store_lock(layout):
            settle(layout)
            if not (layout.mlruns / "mlflow.db").is_file():
                raise MedscreenError(
                    f"{layout.mlruns} holds no store to back up; `make repro` or `dvc repro` creates one."
                )
            relocate(layout)
        snapshot = layout.scratch / "backup.db"
        try:
            # the database first: all artifacts that it lists exist, since artifacts are only added
            runs, versions = _copy_database(layout.mlruns / "mlflow.db", snapshot)
            clear_partials(target.parent)  # left by killed backups, whose names contain their time
            with replaced(target) as partial:
                files = write(partial, layout.mlruns, snapshot, layout.studies)
                _require_free(layout, target)
        except OSError as error:
            raise MedscreenError(
                f"{target} can't be written ({error.strerror or error}); name another file, on a disk with enough room."
            ) from error
        finally:
            snapshot.unlink(missing_ok=True)
    return Backup(target, target.stat().st_size, files, runs, versions)


def restore(layout: Layout, source: Path) -> Path | None:
    """Restores store and studies from the backup `source`; returns the folder of the former ones, None without any.

    Raises MedscreenError, and changes nothing, if the backup is incomplete or damaged, or another process uses the
    store or a study.
    """
    _require_own_store(layout)
    if not source.is_file():
        raise MedscreenError(f"{source} is not a file; name a backup written by `medscreen backup`.")
    with _alone(layout):
        ready = layout.home / "mlruns-restoring"
        try:
            with replaced(ready) as partial:
                if unpack(source, partial, partial / STUDIES, shutil.disk_usage(layout.home).free):
                    (partial / STUDIES).mkdir(exist_ok=True)  # an empty folder if the backup has no studies
            _require_database(ready / "mlflow.db", source)
            with store_lock(layout), _no_study(layout):
                settle(layout)
                for path in (layout.mlruns / name for name in FROM_GIT):
                    if path.is_file():
                        shutil.copy2(path, ready)
                with _unused(layout.mlruns / "mlflow.db"):
                    return exchange(layout, ready)
        except OSError as error:
            raise MedscreenError(
                f"{source} can't be restored ({error.strerror or error}); mlruns/ is unchanged. Make room on the disk, "
                f"or make that file readable and {layout.home} writable."
            ) from error
        finally:
            shutil.rmtree(ready, ignore_errors=True)


def _require_own_store(layout: Layout) -> None:
    if address := server_address(own_address(layout)):
        raise MedscreenError(
            f"MLFLOW_TRACKING_URI is {without_password(address)}. A server's store is backed up on the server "
            "(docs/servers.md); unset the variable for the checkout's store."
        )


def _require_free(layout: Layout, target: Path) -> None:
    if os.path.lexists(target):
        raise MedscreenError(f"{target} exists already; name another file.")
    if target.resolve().is_relative_to(layout.mlruns.resolve()):
        raise MedscreenError(f"{target} lies in the store itself; name a file elsewhere.")


def _alone(layout: Layout) -> AbstractContextManager[None]:
    busy = MedscreenError(f"Another backup or restore of {layout.mlruns} is running; wait until it ends.")
    return process_lock(layout.scratch / "backup.lock", busy)


def _copy_database(database: Path, snapshot: Path) -> tuple[int, int]:
    """Copies the database consistently and checks it; returns the numbers of runs and registered versions."""
    snapshot.unlink(missing_ok=True)  # left by a killed backup
    try:
        with closing(sqlite3.connect(database, timeout=20)) as store, closing(sqlite3.connect(snapshot)) as copy:
            store.backup(copy)
            (found,) = copy.execute("pragma quick_check(1)").fetchone()
            if found != "ok":
                damage = sqlite3.DatabaseError(found)
                damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damage
            runs, versions = copy.execute(
                "select (select count(*) from runs where lifecycle_stage = 'active'),"
                " (select count(*) from model_versions where current_stage <> 'Deleted_Internal')"
            ).fetchone()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
            raise MedscreenError(f"{database} can't be copied to {snapshot} ({error}); make room there.") from error
        raise MedscreenError(database_fault(database, error)) from error
    return runs, versions


def _require_database(database: Path, source: Path) -> None:
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("select count(*) from experiments")
    except sqlite3.Error as error:
        raise MedscreenError(f"{source} holds no MLflow store ({error}); name another backup.") from error


@contextmanager
def _no_study(layout: Layout) -> Iterator[None]:
    """Context in which no `medscreen study` of this checkout runs, which would write to the replaced journal."""
    busy = MedscreenError(f"{layout.studies} is in use: end `medscreen study` first.")
    with ExitStack() as held:
        for path in (layout.scratch / "locks").glob("study-*.lock"):
            held.enter_context(process_lock(path, busy))
        yield


@contextmanager
def _unused(database: Path) -> Iterator[None]:
    """Context with an exclusive lock on the database, against other processes; a damaged one counts as unused."""
    if not database.is_file():
        yield
        return
    with ExitStack() as held:
        try:
            connection = held.enter_context(closing(sqlite3.connect(database, timeout=1)))
            # a process that logs has a connection and would continue to write to the former store
            connection.execute("pragma locking_mode=exclusive")
            connection.execute("begin immediate")
            connection.rollback()  # the exclusive lock stays
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise MedscreenError(
                    f"{database} is in use: end trainings, `medscreen ui` and other processes that have it open first."
                ) from error
        yield
