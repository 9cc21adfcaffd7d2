"""Polling of a registry stage, to serve the version that it holds."""

import os
import threading
import time

from medscreen.errors import MedscreenError
from medscreen.registry.loaded_version import LoadedVersion
from medscreen.registry.loading import record_in_stage
from medscreen.registry.run_record import Record
from medscreen.registry.versions import version_in_stage
from medscreen.serving.monitoring import log
from medscreen.serving.screening import preload
from medscreen.tracking.server import server_address
from medscreen.tracking.store import open_store, own_address

EVERY_S = 5.0
STALE_S = 60.0  # after this time without a successful check the service is not ready


class RegistryWatch:
    """Loads the version of the registered model `name` in `stage`, and replaces it after a promotion or rollback.

    `version` is replaced atomically: each request uses one version throughout. It is None while the stage is empty.
    If the registry can't be read or a new version can't be loaded, the previous one is kept and `problem` states why.
    `checked`: time (s) of the last successful check. Raises MedscreenError if the stage is empty at the start.
    """

    def __init__(self, name: str, stage: str) -> None:
        # no connection pool: its open file could be one that a restore has replaced
        os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
        record = record_in_stage(name, stage)
        self.name, self.stage, self._layout = name, stage, record.layout
        self.version: LoadedVersion | None = _loaded(record)
        self.checked, self.problem = time.time(), ""

    @property
    def title(self) -> str:
        """Name of the served version, or a note that the stage is empty."""
        return self.version.title if self.version else f"nothing: no version of {self.name} is in {self.stage}"

    def start(self) -> None:
        """Starts a thread that checks the registry every few seconds until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="registry-watch").start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            former = self.problem
            try:
                self.check()
            except MedscreenError as error:
                self.problem = str(error)
            except Exception as error:  # stores, drivers and servers raise different types
                self.problem = f"the registry can't be read ({type(error).__name__})"
            if self.problem not in {"", former}:
                log(f"medscreen: {self.problem}")

    def check(self) -> None:
        """Loads the version in the stage if it differs from the served one; never creates a store."""
        database, own = self._layout.mlruns / "mlflow.db", own_address(self._layout)
        if server_address(own) is None and not database.is_file():  # open_store would create one
            raise MedscreenError(f"{database}: not found. Put it back, or restore a backup with `medscreen restore`.")
        client = open_store(self._layout)
        found, served = version_in_stage(client, self.name, self.stage), self.version
        before = served.record.version if served else None
        if found is None:
            self.version = None
        elif before is None or (found.number, found.digest) != (before.number, before.digest):
            self.version = _loaded(Record(client, self._layout, found))
        self.checked, self.problem = time.time(), ""
        if self.version is not served:
            log(f"medscreen: serving {self.title}")


def _loaded(record: Record) -> LoadedVersion:
    version = LoadedVersion(record)
    preload(version)
    if version.no_scores:
        log(f"medscreen: no percentiles: {version.no_scores}")
    return version
