"""Runs one packaged detector on every split and reports how good it is; the only reader of test."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medscreen.config.params import Params
from medscreen.data.images import SPLITS, ImageSet, curated_images
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.sample_size import TOO_FEW
from medscreen.packaging.packaged_detector import PREDICTED_BY, PackagedDetector, Screening, packaged_digest
from medscreen.pipeline.stage_runner import run_stage
from medscreen.reporting.evaluation_report import Judged, analysis, metrics
from medscreen.reporting.figures.evaluation_figures import save_pictures
from medscreen.reporting.figures.operating_figure import save_operating
from medscreen.reporting.figures.plot_tables import save_bench, save_tables
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout

_REPORTED = ("train", "val", "test")


def evaluate(layout: Layout, params: Params, name: str) -> None:
    """Writes models/<name>/predictions.parquet and all of reports/<name>."""
    digest = packaged_digest(layout.packaged(name))
    detector = PackagedDetector(layout.packaged(name), params.compute.threads)
    splits = {split: curated_images(layout, split) for split in SPLITS}
    if empty := [split for split in _REPORTED if not len(splits[split])]:
        raise MedscreenError(f"data/curated/{empty[0]} has no images: check the splits of the data, or add images.")
    screenings = {split: detector.screen(images.pixels) for split, images in splits.items()}
    half = detector.metadata["score_at_half"]
    judged = {split: _judged(splits[split], screenings[split], half) for split in _REPORTED}
    by_seed = _scores_by_seed(layout, params, name, {split: splits[split] for split in ("val", "test")})
    report = metrics(judged, params.evaluation, params.seed)
    tables = analysis(judged, detector.metadata["findings"], by_seed, params.evaluation, params.seed)
    with replaced(layout.predictions(name)) as partial:
        table = _table(splits, screenings, detector.metadata["findings"])
        made_by = table.replace_schema_metadata({PREDICTED_BY: digest})
        pq.write_table(made_by, partial, write_page_checksum=True)
    _save(layout, name, report, tables)
    _draw(layout, name, judged, tables, detector.metadata["operating_point"])
    auroc = report["test"]["auroc"]
    known = None not in auroc.values()
    shown = f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" if known else TOO_FEW
    print(f"{name}: test AUROC {shown}")


def _judged(images: ImageSet, said: Screening, half: float | None) -> Judged:
    outcomes = Outcomes(
        images.labels,
        said.score.astype(np.float64),
        said.abnormal,
        images.patients,
        half,
        said.probability.astype(np.float64),
        said.refer,
    )
    classes = None if said.findings is None else said.findings.astype(np.float64)
    return Judged(outcomes, images.traits, said.p_value.astype(np.float64), classes, said.in_domain)


def _scores_by_seed(
    layout: Layout, params: Params, name: str, splits: Mapping[str, ImageSet]
) -> dict[int, dict[str, Floats]]:
    """What the trainings with further seeds make of the images."""
    found: dict[int, dict[str, Floats]] = {}
    for seed in params.seeds:
        trained = PackagedDetector(layout.trained_with(name, seed), params.compute.threads)
        found[seed] = {split: trained.score(images.pixels).astype(np.float64) for split, images in splits.items()}
    return found


def _save(layout: Layout, name: str, report: dict[str, Any], tables: dict[str, Any]) -> None:
    folder = layout.report(name)
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(folder / "evaluation.json") as partial:
        partial.write_text(json.dumps(report, indent=1))
    with replaced(layout.analysis(name)) as partial:
        partial.write_text(json.dumps(tables, indent=1))
    with replaced(layout.bench(name)) as partial:
        save_bench(tables["bench"], partial)


def _draw(
    layout: Layout,
    name: str,
    judged: Mapping[str, Judged],
    tables: dict[str, Any],
    point: Mapping[str, Any],
) -> None:
    shown = {split: judged[split].outcomes for split in ("val", "test")}
    healthy_p_values = judged["test"].p_values[shown["test"].labels == 0]
    with replaced(layout.tables(name)) as partial:
        partial.mkdir()
        save_tables(shown["test"], partial)
    with replaced(layout.figures(name)) as partial:
        partial.mkdir()
        save_pictures(shown, healthy_p_values, tables, float(point["threshold"]), name, partial)
    with replaced(layout.operating_picture(name)) as partial:
        save_operating(shown, point, name, partial)


def _table(splits: Mapping[str, ImageSet], screenings: Mapping[str, Screening], findings: list[str]) -> pa.Table:
    return pa.concat_tables([_rows(split, images, screenings[split], findings) for split, images in splits.items()])


def _rows(split: str, images: ImageSet, said: Screening, findings: list[str]) -> pa.Table:
    columns = {
        "split": [split] * len(images),
        "origin": list(images.origins),
        "patient": images.patients,
        "label": images.labels.astype(np.int8),
        "score": said.score,
        "p_value": said.p_value,
        "probability": said.probability,
        "abnormal": said.abnormal,
        "refer": said.refer,
    }
    if said.in_domain is not None:
        columns["in_domain"] = said.in_domain
    if said.findings is not None:
        columns |= {f"probability of {name}": said.findings[:, number] for number, name in enumerate(findings)}
    return pa.table(columns)


if __name__ == "__main__":
    run_stage(f"evaluate@{sys.argv[1]}", lambda layout, params: evaluate(layout, params, sys.argv[1]))
