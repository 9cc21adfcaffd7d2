"""The record of a registered version: files, parameters and metrics of its MLflow run."""

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
    """The run of a version; missing parts are None, reading a damaged file raises."""

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
        """The packaged graph, None if its files are lost."""
        return kept_graph(self.client, self.layout, self.location, self.version.digest)

    @property
    def has_own_training(self) -> bool:
        """True if the pipeline trained it; False if `medscreen threshold` made it from another version."""
        return names.OPERATING_POINT_OF not in self.version.tags

    def content(self, name: str) -> bytes | None:
        """Content of a file at the top of the run, None if missing."""
        return kept_file(self.client, self.version.run_id, name)

    def json(self, name: str) -> Any | None:
        """Parsed content of a JSON file at the top of the run, None if missing."""
        content = self.content(name)
        return None if content is None else json.loads(content)

    @cached_property
    def lineage(self) -> dict[str, Any]:
        """The lineage (medscreen.workspace.lineage); empty if the file is lost or damaged."""
        return kept_json(self.client, self.version.run_id, names.LINEAGE_FILE)

    @cached_property
    def recorded_params(self) -> dict[str, Any]:
        """The recorded params.yaml as plain values; empty without a lineage."""
        return yaml.safe_load(self.lineage.get("params.yaml", "")) or {}

    @cached_property
    def params(self) -> dict[str, Any]:
        """The recorded params.yaml with current names of keys and kinds."""
        return with_current_names(self.recorded_params)

    def trained_on(self) -> list[str] | None:
        """Digests of the images of train and tune, None if the list is missing."""
        content = self.content(names.TRAINED_ON)
        return None if content is None else list(pq.read_table(pa.BufferReader(content))["digest"].to_pylist())

    def scores(self) -> pa.Table | None:
        """Split, score, label and patient of each image of `val` and `test`; raises MedscreenError if damaged."""
        content = self.content(names.SCORES)
        try:
            return (
                None if content is None else pq.read_table(pa.BufferReader(content), columns=list(names.SCORE_COLUMNS))
            )
        except Exception as error:  # damaged Arrow files raise different errors
            raise MedscreenError(
                f"{names.SCORES} of {self.version}, in run {self.version.run_id}, is damaged ({type(error).__name__}); "
                "`dvc repro --force publish` writes it again if the workspace holds the version."
            ) from error

    def outcomes(self, split: str) -> Outcomes | None:
        """The outcomes on `val` or `test`, without decisions; None without scores."""
        scores = self.scores()
        if scores is None:
            return None
        rows = scores.filter(pc.field("split") == split)
        labels, values, patients = (rows[name].to_numpy() for name in ("label", "score", "patient"))
        return outcomes_of(labels=labels, scores=values, patients=patients)


def with_current_names(params: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces former names of keys and kinds in a recorded params.yaml by the current ones."""
    found: dict[str, Any] = with_current_keys(params)
    found["detectors"] = {name: with_current_kinds(entry) for name, entry in found.get("detectors", {}).items()}
    for study in found.get("studies", {}).values():
        for searched in study["searched"].values():
            if searched["entry"] is not None:
                searched["entry"] = with_current_kinds(searched["entry"])
    return found
