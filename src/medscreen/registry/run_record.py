"""The record of a registered version: the files and numbers that its run keeps."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from medscreen.config.detectors.roster import with_current_kinds
from medscreen.config.former_names import with_current_keys
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.registry.versions import Version, location_of
from medscreen.tracking import names
from medscreen.tracking.logged_models import kept_graph
from medscreen.tracking.run_state import find_run, kept_file, kept_json
from medscreen.workspace.layout import Layout


class Record:
    """The run of a version; what it does not keep is None, a damaged file raises where it is read."""

    def __init__(self, client: MlflowClient, layout: Layout, version: Version) -> None:
        self.client, self.layout, self.version = client, layout, version

    @cached_property
    def run(self) -> Run | None:
        """MLflow's run, with its tags, parameters and metrics; None if it was removed."""
        return find_run(self.client, self.version.run_id)

    @cached_property
    def location(self) -> str:
        """Location of the package's files."""
        return location_of(self.client, self.version)

    @cached_property
    def graph(self) -> Path | None:
        """The packaged graph, None where its files are lost."""
        return kept_graph(self.client, self.layout, self.location, self.version.digest)

    @property
    def has_own_training(self) -> bool:
        """True if stages made it; `medscreen threshold` makes versions of the network of another one."""
        return names.OPERATING_POINT_OF not in self.version.tags

    def content(self, name: str) -> bytes | None:
        """Content of a file at the top of the run."""
        return kept_file(self.client, self.version.run_id, name)

    def json(self, name: str) -> Any | None:
        """The content of a JSON file."""
        content = self.content(name)
        return None if content is None else json.loads(content)

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """See medscreen.workspace.lineage; empty where the file is lost or damaged."""
        return kept_json(self.client, self.version.run_id, names.LINEAGE_FILE)

    @cached_property
    def recorded_params(self) -> dict[str, Any]:
        """The recorded params.yaml as plain values; empty without a lineage."""
        return yaml.safe_load(self.lineage.get("params.yaml", "")) or {}

    @cached_property
    def params(self) -> dict[str, Any]:
        """The same, with the names of kinds that are used today."""
        return with_current_names(self.recorded_params)

    def trained_on(self) -> list[str] | None:
        """Digests of the images of train and tune."""
        content = self.content(names.TRAINED_ON)
        return None if content is None else list(pq.read_table(pa.BufferReader(content))["digest"].to_pylist())

    def scores(self) -> pa.Table | None:
        """Split, score, label and patient of each image of `val` and `test`; raises MedscreenError if damaged."""
        content = self.content(names.SCORES)
        try:
            return (
                None if content is None else pq.read_table(pa.BufferReader(content), columns=list(names.SCORE_COLUMNS))
            )
        except Exception as error:  # damaged files of Arrow fail in many ways
            raise MedscreenError(
                f"{names.SCORES} of {self.version}, in run {self.version.run_id}, is damaged ({type(error).__name__}); "
                "`dvc repro --force publish` writes it again while the version's files are in the workspace."
            ) from error

    def outcomes(self, split: str) -> Outcomes | None:
        """The outcomes on `val` or `test`, without decisions."""
        scores = self.scores()
        if scores is None:
            return None
        rows = scores.filter(pc.field("split") == split)
        labels, values, patients = (rows[name].to_numpy() for name in ("label", "score", "patient"))
        return outcomes_of(labels=labels, scores=values, patients=patients)


def with_current_names(params: Mapping[str, Any]) -> dict[str, Any]:
    """A params.yaml that a former version recorded, with the names of keys and kinds of today."""
    found: dict[str, Any] = with_current_keys(params)
    found["detectors"] = {name: with_current_kinds(entry) for name, entry in found.get("detectors", {}).items()}
    for study in found.get("studies", {}).values():
        for searched in study["searched"].values():
            if searched["entry"] is not None:
                searched["entry"] = with_current_kinds(searched["entry"])
    return found
