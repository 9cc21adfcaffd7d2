"""MLflow's store of a checkout: SQLite database and artifacts below mlruns/, relocated when the checkout moves.

If MLFLOW_TRACKING_URI is a server's address, the store is there.
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

# no telemetry in medical projects; MLflow reads these variables on import
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the URL of a server may contain a password

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from medscreen.tracking.server import on_server, open_server, server_address

# it logs a traceback before it raises the error, which is reported as one sentence
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

# all columns in which MLflow stores absolute paths, to be rewritten after a move
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def open_store(layout: Layout) -> MlflowClient:
    """A client of the server at MLFLOW_TRACKING_URI, or of the checkout's store, created if missing.

    If the checkout was moved or copied, stored locations are rewritten; a killed restore is completed. Raises
    MedscreenError for a server that does not respond, a path that is invalid in a database URI, and a database that is
    locked, read-only, full or damaged.
    """
    layout.scratch.mkdir(parents=True, exist_ok=True)
    database = layout.mlruns / "mlflow.db"
    if address := server_address(own_address(layout)):
        return open_server(address)
    if set(str(database)) & set("?#%"):
        raise MedscreenError(
            f"{database}: invalid path for MLflow's store. Move the checkout to a path without ?, # and %."
        )
    # concurrent creation or migration of the database fails
    with store_lock(layout):
        settle(layout)
        layout.mlruns.mkdir(parents=True, exist_ok=True)
        if not database.exists():
            _create(database)
        relocate(layout)
    return MlflowClient(own_address(layout), own_address(layout))


def relocate(layout: Layout) -> None:
    """Rewrites the locations in the database to the current folder, by SQLite, which works for any version of MLflow.

    The caller holds the store's lock. Raises MedscreenError for an unusable database or .location.
    """
    database = layout.mlruns / "mlflow.db"
    if database.is_file() and database.stat().st_size == 0:
        raise MedscreenError(
            f"{database} is empty (0 bytes). Move it away and restore a backup with `medscreen restore`; without one, "
            "`dvc repro publish` rebuilds current results."
        )
    note, now = layout.mlruns / ".location", str(layout.mlruns)
    before = _former_place(note)
    try:
        with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
            connection.execute("select count(*) from experiments")  # raises if this is not an MLflow database
            if before == now:
                return
            if not before:  # a new store: MLflow puts its default experiment below the working directory
                first = "update experiments set artifact_location = ? where experiment_id = 0"
                connection.execute(first, (f"{now}/artifacts/0",))
            # MLflow stores some as paths and some as file: URIs, in which a blank is %20
            forms = (
                ((f"{before}/", f"{now}/"), (f"{Path(before).as_uri()}/", f"{Path(now).as_uri()}/")) if before else ()
            )
            for (table, column), (old, new) in product(_LOCATIONS, forms):
                moved = f"set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?"
                connection.execute(f"update {table} {moved}", (new, len(old) + 1, len(old), old))
    except sqlite3.Error as error:
        raise MedscreenError(database_fault(database, error)) from error
    if before:
        print(f"medscreen: mlruns/ has moved from {before}; stored locations were changed to {now}", file=sys.stderr)
    note.write_text(now, encoding="utf-8")


def _former_place(note: Path) -> str:
    """The prefix of the stored locations; empty for a new store."""
    try:
        place = note.read_text(encoding="utf-8").strip("\n") if note.is_file() else ""
    except UnicodeDecodeError:
        place = "?"
    if place and ("\0" in place or not Path(place).is_absolute()):
        raise MedscreenError(
            f"{note} is damaged: it must contain the folder in which the store was last used. Write that path into it, "
            "or remove the file if the checkout has not been moved since."
        )
    return place


def open_experiment(client: MlflowClient, layout: Layout, name: str) -> str:
    """Id of an experiment with artifacts below mlruns/artifacts or on the server.

    It is created if missing, and restored if deleted, since MLflow keeps the name and the runs of a deleted one.
    """
    location = None if on_server(client) else (layout.mlruns / "artifacts" / name).as_uri()
    with store_lock(layout):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(client.create_experiment(name, artifact_location=location))
            except MlflowException:
                experiment = client.get_experiment_by_name(name)
                if experiment is None:  # else another client has just created it on the server
                    raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def store_lock(layout: Layout) -> FileLock:
    """Lock for creating, moving or replacing the store; `layout.scratch` must exist."""
    return FileLock(layout.scratch / "mlflow.lock")


def own_address(layout: Layout) -> str:
    """URI of the checkout's store."""
    return f"sqlite:///{layout.mlruns / 'mlflow.db'}"


def _create(database: Path) -> None:
    partial = database.with_name("mlflow.db.partial")
    partial.unlink(missing_ok=True)
    logging.getLogger("alembic").setLevel(logging.ERROR)  # it logs each of 69 migrations
    logging.getLogger("mlflow.store").setLevel(logging.ERROR)
    MlflowClient(f"sqlite:///{partial}").search_experiments()  # the first query creates the tables
    with closing(sqlite3.connect(partial)) as connection:
        # write-ahead logging: concurrent writers wait milliseconds, not seconds
        connection.execute("pragma journal_mode=wal")
    partial.replace(database)


def serve_ui(layout: Layout, port: int) -> None:
    """Replaces this process by an MLflow server on the checkout's store, at 127.0.0.1.

    If the store is on a server, prints its address instead. Raises MedscreenError if the port is in use.
    """
    open_store(layout)
    if address := server_address(own_address(layout)):
        print(f"MLflow at {without_password(address)}, the server of MLFLOW_TRACKING_URI.")
        return
    require_free_port(port, "medscreen ui")
    print(
        f"MLflow at http://127.0.0.1:{port} (a few seconds; Ctrl-C ends it). "
        'For the registered models, choose "Model training" top left.',
        flush=True,
    )
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # 0.5 instead of 3 GiB; jobs are not used
    store = ["--backend-store-uri", own_address(layout)]
    artifacts = ["--artifacts-destination", str(layout.mlruns / "artifacts")]
    where = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *store, *artifacts, *where])  # noqa: S606
