"""Fast lookup of the packaged detector in a registry stage.

In the checkout's store it is read from MLflow's SQLite file, since importing MLflow takes longer than screening a
hundred images (docs/performance.md). On any unexpected content, MLflow's client takes over and reports the error.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.tracking import names
from medscreen.tracking.mlmodel_file import loads_only_graph, local_graph
from medscreen.workspace.layout import Layout, find_layout

_IN_STAGE = """
select version.version, version.storage_location, detector.value, digest.value
from model_versions version
join model_version_tags detector
  on detector.name = version.name and detector.version = version.version and detector.key = :detector
join model_version_tags digest
  on digest.name = version.name and digest.version = version.version and digest.key = :digest
where version.name = :model and version.current_stage = :stage
"""


@dataclass(frozen=True)
class StagePackage:
    """A version's packaged graph and its digest."""

    model: str
    version: int
    detector: str
    digest: str
    graph: Path

    def __str__(self) -> str:
        return f"{self.model} version {self.version} ({self.detector})"


def package_in_stage(model: str, stage: str) -> StagePackage:
    """The package of a registered model's version in `stage`.

    Raises MedscreenError outside a checkout, for an unknown model or stage, a stage without a version, and lost or
    changed files.
    """
    layout = find_layout()
    if found := _in_own_store(layout, model, stage):
        return found
    from medscreen.registry.loading import record_in_stage, whole_graph

    record = record_in_stage(model, stage)
    version = record.version
    return StagePackage(version.model, version.number, version.detector, version.digest, whole_graph(record))


def _in_own_store(layout: Layout, model: str, stage: str) -> StagePackage | None:
    """The package by one query of the store's SQLite file; None if store or package fail any check."""
    restore_cut_short = any(layout.home.glob(".mlruns-before-restore-*"))
    if (
        stage not in names.STAGES
        or restore_cut_short
        or os.environ.keys() & {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"}
    ):
        return None
    wanted = {"model": model, "stage": stage, "detector": names.DETECTOR, "digest": names.DIGEST}
    try:
        if (layout.mlruns / ".location").read_text(encoding="utf-8") != str(layout.mlruns):
            return None
        address = f"file:{quote(str(layout.mlruns / 'mlflow.db'))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=20)) as connection:
            ((number, location, detector, digest),) = connection.execute(_IN_STAGE, wanted)
        graph = local_graph(location)
        sound = graph and packaged_digest(graph) == digest and loads_only_graph(graph.with_name("MLmodel"))
    except Exception:  # another schema, no or several versions, lost or damaged files
        return None
    return StagePackage(model, int(number), detector, digest, graph) if graph and sound else None
