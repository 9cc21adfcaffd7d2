"""Result of a detector, read from the files that DVC versions, as logged to MLflow."""

import csv
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medscreen.config.detectors.roster import DetectorParams, with_current_kinds
from medscreen.config.former_names import with_current_keys
from medscreen.config.params import Params
from medscreen.config.privacy import is_public
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes, outcomes_of_rows
from medscreen.explain.similar_cases import case_table
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest, stated_operating_point
from medscreen.packaging.predictions import predicted_by
from medscreen.tracking import names
from medscreen.workspace.digests import digest_of
from medscreen.workspace.keyed_names import names_key
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import read_lineage


@dataclass(frozen=True)
class Result:
    """A fitted, calibrated and evaluated detector.

    `history`: one mapping per epoch, its number under `epoch`. `evaluation`: split -> metric -> estimate.
    `analysis`: see medscreen.reporting.evaluation_report.tables. `explanations`: see medscreen.explain.proof; {}
    if an older `evaluate` wrote none. `files`: folder of the run -> files to log.
    `predictions`: score, probability and decision of each image of val and test, with label and patient number, without
    file names. `similar_cases`: index of the training images, see medscreen.explain; None for a detector without
    embeddings. `trained_on`: digests of the images of train and tune. `studied`: tags of the study and trial that the
    settings come from; empty without one.
    """

    dataset: str
    detector: str
    params: dict[str, Any]
    run_key: str
    history: list[dict[str, float]]
    evaluation: dict[str, Any]
    analysis: dict[str, Any]
    explanations: dict[str, Any]
    curation: dict[str, Any]
    data_digest: str
    packaged: Path
    digest: str
    files: dict[str, list[Path]]
    predictions: pa.Table
    similar_cases: pa.Table | None
    trained_on: list[str]
    operating_point: dict[str, Any]
    lineage: dict[str, Any]
    is_baseline: bool
    studied: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> dict[str, dict[str, Any]]:
        """Split -> digest and counts."""
        of_splits: dict[str, dict[str, Any]] = self.curation["splits"]
        return of_splits

    @property
    def report_digest(self) -> str:
        """Digest of the evaluation: metrics, analysis, explanations, curation and data."""
        content = json.dumps(
            [self.evaluation, self.analysis, self.explanations, self.curation, self.data_digest], sort_keys=True
        )
        return digest_of(content)

    def value(self, split: str, metric: str) -> float | None:
        """A metric's value on a split, None if undefined."""
        value: float | None = self.evaluation[split][metric]["value"]
        return value

    def outcomes(self, split: str) -> Outcomes:
        """The outcomes on val or test, as `evaluate` saved them."""
        rows = self.predictions.filter(pc.field("split") == split)
        return outcomes_of_rows(rows, None)


def read_results(layout: Layout, params: Params) -> list[Result]:
    """The results of the whole roster; raises MedscreenError if the workspace lacks any."""
    try:
        active = json.loads(layout.raw.read_text())["dataset"]
        if active != params.dataset:
            raise MedscreenError(
                f"The workspace has results of {active}, params.yaml has {params.dataset}; run `dvc repro` first."
            )
        return [_whole(layout, params, name) for name in params.detectors]
    except FileNotFoundError as error:
        missing = os.path.relpath(error.filename, layout.workspace) if error.filename else " ".join(str(error).split())
        raise MedscreenError(
            f"The workspace lacks results of the roster in params.yaml ({missing} not found); run `dvc repro` first."
        ) from error


def _whole(layout: Layout, params: Params, detector: str) -> Result:
    try:
        result = read_result(layout, params, detector)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError) as error:  # includes pyarrow's errors
        raise MedscreenError(
            f"models/{detector}, reports/detectors/{detector} or reports/predictions/{detector}.parquet: a file of the "
            f"results is damaged ({type(error).__name__}). Remove them and run `dvc repro`."
        ) from error
    made_by = predicted_by(layout.predictions(detector))
    if made_by != result.digest:
        raise MedscreenError(
            f"reports/predictions/{detector}.parquet: not made by models/{detector}/detector.onnx "
            f"(digest {made_by}, not {result.digest}). Run `dvc repro --force evaluate`."
        )
    return result


def read_result(layout: Layout, params: Params, detector: str) -> Result:
    """The result of one detector of the roster, from the outputs of its stages."""
    fitted = json.loads((layout.fitted(detector) / "fit.json").read_text())
    raw = json.loads(layout.raw.read_text())
    with (layout.fitted(detector) / "history.csv").open(newline="") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    packaged, explanations = layout.packaged(detector), layout.explanations(detector)
    entry = params.detector(detector)
    images = {
        split: pq.read_table(layout.curated(split) / "manifest.parquet", columns=["digest"])["digest"].to_pylist()
        for split in ("train", "tune")
    }
    trained_on = images["train"] + images["tune"]
    # images are logged only for public data; the curation page is optional
    public = is_public(params.datasets[raw["dataset"]])
    elsewhere = {layout.operating_picture(detector)} | (set() if public else {layout.cases_picture(detector)})
    studied = _studied(layout, detector, entry)
    trial = f"trial {studied[names.TRIAL]} of {studied[names.STUDY]}" if studied else None
    return Result(
        dataset=raw["dataset"],
        detector=detector,
        params=logged_params(params, detector, raw["dataset"]),
        run_key=fitted["run_key"],
        history=history,
        evaluation=json.loads(layout.evaluation(detector).read_text()),
        analysis=json.loads(layout.analysis(detector).read_text()),
        explanations=json.loads(explanations.read_text()) if explanations.is_file() else {},
        curation=json.loads(layout.curation_report.read_text()),
        data_digest=raw["digest"],
        packaged=packaged,
        digest=packaged_digest(packaged),
        files={
            "figures": sorted(set(layout.figures(detector).glob("*.png")) - elsewhere),
            "": [
                layout.evaluation(detector),
                layout.analysis(detector),
                layout.threshold_comparison(detector),
                *(path for path in (layout.map_graph(detector), explanations) if path.is_file()),
                layout.operating_picture(detector),
                layout.curation_report,
                *([layout.curation_page] if public and layout.curation_page.is_file() else []),
            ],
        },
        similar_cases=_similar_cases(layout, detector, images["train"]),
        predictions=pq.read_table(
            layout.predictions(detector),
            columns=["split", "patient", "label", "score", "probability", "abnormal"],
            filters=pc.field("split").isin(["val", "test"]),
            page_checksum_verification=True,
        ),
        trained_on=trained_on,
        operating_point=stated_operating_point(PackagedDetector(packaged).metadata),
        lineage=read_lineage(layout, detector, trained_on, trial),
        is_baseline=entry.is_baseline,
        studied=studied,
    )


def _studied(layout: Layout, detector: str, entry: DetectorParams) -> dict[str, str]:
    """Tags of study and trial if the settings are those of the study's winner, else empty."""
    try:
        winner = json.loads(layout.study_winner(detector).read_text())
        tags = {names.STUDY: str(winner["study"]), names.TRIAL: str(winner["trial"])}
        searched = with_current_kinds(with_current_keys(winner["entry"]))
        return tags if winner["trial"] is not None and searched == entry.model_dump(mode="json") else {}
    except (OSError, ValueError, KeyError, TypeError):  # no study, or an incomplete record
        return {}


def _similar_cases(layout: Layout, detector: str, images: list[str]) -> pa.Table | None:
    """Index of similar cases for the version; `images`: digests of train."""
    path = layout.development_predictions(detector)
    rows = pq.read_table(path, filters=pc.field("split") == "train", page_checksum_verification=True)
    return case_table(rows, images, names_key(layout.names_key))


def logged_params(params: Params, detector: str, dataset: str) -> dict[str, Any]:
    """Settings of the detector as MLflow parameters."""
    operating, compute = params.operating.model_dump(), params.compute.model_dump()
    common = {"operating": operating, "compute": compute, "seed": params.seed, "dataset": dataset}
    return flat_settings(params.detector(detector).model_dump() | common)


def flat_settings(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens nested settings to dotted names, such as training.epochs."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, dict):
            flat |= flat_settings(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
