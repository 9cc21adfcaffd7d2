"""MLflow's store of a checkout: SQLite and artefacts below mlruns/, created once, followed when it moves.

Where MLFLOW_TRACKING_URI names a server, that is the store.
"""

import logging
import os
import sqlite3
import sys
from contextlib import closing
from itertools import product
from pathlib import Path

from filelock import FileLock

from medscreen.errors import MedscreenError
from medscreen.runtime.ports import require_free_port
from medscreen.runtime.system_errors import database_fault, without_password
from medscreen.tracking.store_swap import settle
from medscreen.workspace.layout import Layout

# People's medical projects call nobody; and MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # a server's may hold a password

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medscreen.tracking.server import on_server, open_server, server_address

# it writes a traceback before it raises what ends as one sentence
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

# Columns in which MLflow stores absolute paths: nothing else in the database keeps it from moving.
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def open_store(layout: Layout) -> MlflowClient:
    """A client of the server that MLFLOW_TRACKING_URI names, or of the checkout's store, created if it isn't there.

    Where the checkout has been moved or copied, the stored locations are rewritten to where it is now; a restore that
    was killed is brought to an end. Raises MedscreenError for a server that does not answer, a path that a database
    address can't hold, and a database that is locked, read-only, full, not to be opened or damaged.
    """
    layout.scratch.mkdir(parents=True, exist_ok=True)
    database = layout.mlruns / "mlflow.db"
    if address := server_address(own_address(layout)):
        return open_server(address)
    if set(str(database)) & set("?#%"):
        raise MedscreenError(
            f"MLflow can't keep its store at {database}; move the checkout to a path without ?, # and %."
        )
    # two processes that create or migrate the database together kill one another
    with store_lock(layout):
        settle(layout)
        layout.mlruns.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            _create(database)
        relocate(layout)
    return MlflowClient(own_address(layout), own_address(layout))


def relocate(layout: Layout) -> None:
    """Makes the locations in the database what they are now; by SQLite alone, which opens one of another MLflow, too.

    The caller holds the store's lock. Raises MedscreenError for a database or a .location that can't be used.
    """
    database = layout.mlruns / "mlflow.db"
    if database.is_file() and database.stat().st_size == 0:
        raise MedscreenError(
            f"{database} is empty (0 bytes). Move it away and restore a backup with `medscreen restore`; without one, "
            "`dvc repro publish` builds what can be rebuilt."
        )
    note, now = layout.mlruns / ".location", str(layout.mlruns)
    before = _former_place(note)
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            connection.execute("select count(*) from experiments")  # raises if this is no database of MLflow's
            if before == now:
                return
            if not before:  # a new store: MLflow has put its own first experiment below the working directory
                first = "update experiments set artifact_location = ? where experiment_id = 0"
                connection.execute(first, (f"{now}/artifacts/0",))
            # MLflow stores some as paths and some as file: addresses, in which a blank is %20
            forms = (
                ((f"{before}/", f"{now}/"), (f"{Path(before).as_uri()}/", f"{Path(now).as_uri()}/")) if before else ()
            )
            for (table, column), (old, new) in product(_LOCATIONS, forms):
                moved = f"set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?"
                connection.execute(f"update {table} {moved}", (new, len(old) + 1, len(old), old))
    except sqlite3.Error as error:
        raise MedscreenError(database_fault(database, error)) from error
    if before:
        print(f"medscreen: mlruns/ has moved from {before}; its stored locations now say {now}", file=sys.stderr)
    note.write_text(now, encoding="utf-8")


def _former_place(note: Path) -> str:
    """The folder that the stored locations begin with; empty for a new store."""
    try:
        place = note.read_text(encoding="utf-8").strip("\n") if note.is_file() else ""
    except UnicodeDecodeError:
        place = "?"
    if place and ("\0" in place or not Path(place).is_absolute()):
        raise MedscreenError(
            f"{note} is damaged: it has to hold the path of the folder in which the store was last used. Write that "
            "path into it, or remove the file if the checkout has not been moved since."
        )
    return place


def open_experiment(client: MlflowClient, layout: Layout, name: str) -> str:
    """The id of an experiment whose artefacts lie below mlruns/artifacts, or where the server keeps them.

    It is made, or brought back if somebody deleted it: MLflow keeps its name and its runs.
    """
    location = None if on_server(client) else (layout.mlruns / "artifacts" / name).as_uri()
    with store_lock(layout):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException:
                experiment = client.get_experiment_by_name(name)
                if experiment is None:  # else somebody has just made it on the server
                    raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def store_lock(layout: Layout) -> FileLock:
    """Held by whoever creates, moves or replaces the store; `layout.scratch` has to exist."""
    return FileLock(layout.scratch / "mlflow.lock")


def own_address(layout: Layout) -> str:
    """MLflow's address of the checkout's own store."""
    return f"sqlite:///{layout.mlruns / 'mlflow.db'}"


def _create(database: Path) -> None:
    partial = database.with_name("mlflow.db.partial")
    partial.unlink(missing_ok=True)
    logging.getLogger("alembic").setLevel(logging.ERROR)  # it logs each of 69 steps
    logging.getLogger("mlflow.store").setLevel(logging.ERROR)
    MlflowClient(f"sqlite:///{partial}").search_experiments()  # the first query makes the tables
    with closing(sqlite3.connect(partial)) as connection:
        # write-ahead logging: processes that log at once wait milliseconds, not seconds, for one another
        connection.execute("pragma journal_mode=wal")
    partial.replace(database)


def serve_ui(layout: Layout, port: int) -> None:
    """Becomes an MLflow server on the checkout's store, at 127.0.0.1; raises MedscreenError if the port is taken.

    Where the store is on a server, only says at which address.
    """
    open_store(layout)
    if address := server_address(own_address(layout)):
        print(f"MLflow at {without_password(address)}, the server that MLFLOW_TRACKING_URI names.")
        return
    require_free_port(port, "medscreen ui")
    print(
        f"MLflow at http://127.0.0.1:{port} (a few seconds; Ctrl-C ends it). "
        'For the registered models, choose "Model training" top left.',
        flush=True,
    )
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # 0.5 instead of 3 GiB: nobody here runs its jobs
    store = ["--backend-store-uri", own_address(layout)]
    artifacts = ["--artifacts-destination", str(layout.mlruns / "artifacts")]
    where = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *where])  # noqa: S606
