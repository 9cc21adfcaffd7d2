"""What a registered version's run keeps: the files and numbers that it can be held against."""

import json
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from medscreen.layout import Layout
from medscreen.registry.versions import OPERATING_POINT_OF, Version
from medscreen.tracking.models import logged_graph
from medscreen.tracking.runs import LINEAGE_FILE, SCORES, TRAINED_ON


class Record:
    """The run of a version; what it does not keep is None, what can't be read raises where it is asked for."""

    def __init__(self, client: MlflowClient, layout: Layout, version: Version) -> None:
        self.client, self.version = client, version
        self._layout = layout

    @cached_property
    def run(self) -> Run:
        """MLflow's run, with its tags, parameters and metrics."""
        return self.client.get_run(self.version.run_id)

    @cached_property
    def graph(self) -> Path | None:
        """The packaged graph, None where its files are lost."""
        return logged_graph(self.client, self._layout, self.version.run_id)

    @property
    def has_own_training(self) -> bool:
        """Whether stages made it; `medscreen threshold` makes versions of the network of another one."""
        return OPERATING_POINT_OF not in self.version.tags

    def content(self, name: str) -> bytes | None:
        """What a file at the top of the run holds."""
        if name not in {item.path for item in self.client.list_artifacts(self.version.run_id)}:
            return None
        with TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(self.version.run_id, name, folder)).read_bytes()

    def json(self, name: str) -> Any | None:
        """The content of a JSON file."""
        content = self.content(name)
        return None if content is None else json.loads(content)

    @cached_property
    def lineage(self) -> dict[str, Any] | None:
        """See medscreen.lineage; None also where the file is damaged."""
        try:
            content = self.json(LINEAGE_FILE)
        except ValueError:
            return None
        return content if isinstance(content, dict) else None

    @cached_property
    def params(self) -> dict[str, Any]:
        """The params.yaml of then as plain values; empty without a lineage."""
        content = yaml.safe_load((self.lineage or {}).get("params.yaml", "")) or {}
        return dict(content)

    def trained_on(self) -> list[str] | None:
        """Digests of the images of train and tune."""
        content = self.content(TRAINED_ON)
        return None if content is None else list(pq.read_table(pa.BufferReader(content))["digest"].to_pylist())

    def scores(self, split: str) -> pa.Table | None:
        """Score, label and patient of each image of `val` or `test`."""
        content = self.content(SCORES)
        return None if content is None else pq.read_table(pa.BufferReader(content)).filter(pc.field("split") == split)
