"""Following of a stage in the registry: the version that is served."""

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
STALE_S = 60.0  # without a successful check the service is not ready


class RegistryWatch:
    """Holds the version that the registered model `name` has in `stage`, and replaces it when another one is there.

    `version` is replaced as a whole: a request takes it once and ends on it. It is None while the stage is empty.
    Where the registry can't be read, or a new version can't be loaded, the former one stays; `problem` has the reason.
    `checked`: time (s) of the last reading. Raises MedscreenError where the stage is empty to begin with.
    """

    def __init__(self, name: str, stage: str) -> None:
        # each query opens the database anew: a pool would keep the file that a restore or a copy has replaced
        os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"
        record = record_in_stage(name, stage)
        self.name, self.stage, self._layout = name, stage, record.layout
        self.version: LoadedVersion | None = _loaded(record)
        self.checked, self.problem = time.time(), ""

    @property
    def title(self) -> str:
        """Name of the served version, or a note that there is none."""
        return self.version.title if self.version else f"nothing: no version of {self.name} is in {self.stage}"

    def start(self) -> None:
        """Checks the registry every few seconds until the process ends."""
        threading.Thread(target=self._run, daemon=True, name="registry-watch").start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_S):
            former = self.problem
            try:
                self.check()
            except MedscreenError as error:
                self.problem = str(error)
            except Exception as error:  # of the store, its driver or a server: each fails in its own way
                self.problem = f"the registry can't be read ({type(error).__name__})"
            if self.problem not in {"", former}:
                log(f"medscreen: {self.problem}")

    def check(self) -> None:
        """Loads the version in the stage where it is another one than that being served; creates no store."""
        database, own = self._layout.mlruns / "mlflow.db", own_address(self._layout)
        if server_address(own) is None and not database.is_file():  # open_store would create one
            raise MedscreenError(f"{database} is gone; put it back, or `medscreen restore` brings a backup back.")
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
        log(f"medscreen: there are no percentiles: {version.no_scores}")
    return version
