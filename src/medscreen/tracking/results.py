"""One detector's result, read from the files that DVC versions: all that its MLflow run shows."""

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medscreen.layout import Layout
from medscreen.packaging.detector import packaged_digest
from medscreen.params import Params


@dataclass(frozen=True)
class Result:
    """A fitted, calibrated and evaluated detector.

    `history`: one mapping an epoch, its number under `epoch`. `evaluation`: split -> metric -> estimate.
    `analysis`: see appraisal. `data`: split -> digest. `files`: what the run shows, by folder. `scores`: of val and
    test, with label and patient number; no name of a file.
    """

    dataset: str
    detector: str
    params: dict[str, Any]
    run_key: str
    history: list[dict[str, float]]
    evaluation: dict[str, Any]
    analysis: dict[str, Any]
    data: dict[str, dict[str, Any]]
    data_digest: str
    packaged: Path
    digest: str
    files: dict[str, list[Path]]
    scores: pa.Table
    is_baseline: bool

    @property
    def report_digest(self) -> str:
        """Names what the run shows of the evaluation: its numbers and the data they are about."""
        shown = json.dumps([self.evaluation, self.analysis, self.data, self.data_digest], sort_keys=True)
        return hashlib.blake2b(shown.encode(), digest_size=16).hexdigest()

    def value(self, split: str, metric: str) -> float | None:
        """A metric's value on a split, None where it is not defined."""
        value: float | None = self.evaluation[split][metric]["value"]
        return value


def read_result(layout: Layout, params: Params, detector: str) -> Result:
    """The result of one detector of the roster, as its stages left it."""
    fitted = json.loads((layout.fitted(detector) / "fit.json").read_text())
    raw = json.loads(layout.raw.read_text())
    with (layout.fitted(detector) / "history.csv").open(newline="") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    report = layout.report(detector)
    packaged = layout.packaged(detector)
    entry = params.detector(detector)
    return Result(
        dataset=raw["dataset"],
        detector=detector,
        params={
            **_flat(entry.model_dump()),
            **_flat({"operating": params.operating.model_dump()}),
            **_flat({"compute": params.compute.model_dump()}),
            "seed": params.seed,
            "dataset": raw["dataset"],
        },
        run_key=fitted["run_key"],
        history=history,
        evaluation=json.loads((report / "evaluation.json").read_text()),
        analysis=json.loads(layout.analysis(detector).read_text()),
        data=json.loads(layout.curation_report.read_text())["splits"],
        data_digest=raw["digest"],
        packaged=packaged,
        digest=packaged_digest(packaged),
        files={
            "figures": sorted(layout.figures(detector).glob("*.png")),
            "plots": sorted(layout.tables(detector).glob("*.csv")),
            "": [
                report / "evaluation.json",
                layout.analysis(detector),
                layout.bench(detector),
                layout.operating_picture(detector),
                layout.operating_point(detector),
                layout.curation_report,
            ],
        },
        scores=_scores(layout.predictions(detector)),
        is_baseline=entry.is_baseline,
    )


def _scores(predictions: Path) -> pa.Table:
    said = pq.read_table(predictions, columns=["split", "patient", "label", "score"])
    return said.filter(pc.field("split").isin(["val", "test"]))


def _flat(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as MLflow parameters: training.epochs."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
