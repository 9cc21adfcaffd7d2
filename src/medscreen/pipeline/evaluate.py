"""Stage evaluate: evaluates the packaged detectors; the only stage that reads the test split."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medscreen.config.datasets import PhantomParams
from medscreen.config.params import Params
from medscreen.data.images import TEST, ImageSet, curated_images, open_test_split, set_digest
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Floats, Outcomes, outcomes_of_rows
from medscreen.evaluation.sample_size import TOO_FEW
from medscreen.explain.packaged_map import PackagedMap
from medscreen.explain.proof import Subject, prove
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.packaging.predictions import (
    EMBEDDING_COLUMN,
    class_probabilities,
    predicted_by,
    prediction_rows,
    save_predictions,
)
from medscreen.packaging.scoring_graph import scoring_graph
from medscreen.pipeline.stage_runner import run_stage
from medscreen.reporting.evaluation_report.canvas import save_picture
from medscreen.reporting.evaluation_report.case_figure import save_cases
from medscreen.reporting.evaluation_report.embedding_figure import draw_embeddings
from medscreen.reporting.evaluation_report.evaluation_figures import save_pictures
from medscreen.reporting.evaluation_report.operating_figure import save_operating
from medscreen.reporting.evaluation_report.plot_tables import save_plots, save_threshold_comparison
from medscreen.reporting.evaluation_report.tables import Judged, analysis, headline, metrics
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout

_REPORTED = ("train", "val", "test")
_ON_TEST = b"medscreen.test_digest"


def evaluate(layout: Layout, params: Params, names: Sequence[str] = ()) -> None:
    """Writes reports/{detectors,metrics,figures,predictions} of these detectors.

    Without `names`, evaluates the whole roster, writes reports/plots and removes results of other detectors.
    """
    with open_test_split():
        test = curated_images(layout, TEST)
    if not len(test):
        raise MedscreenError("data/curated/test has no images: check the splits of the data, or add images.")
    val = curated_images(layout, "val")
    judged = {name: _evaluate(layout, params, name, val, test) for name in names or params.detectors}
    if names:
        return
    with replaced(layout.plots) as folder:
        folder.mkdir()
        save_plots({name: of.outcomes for name, of in judged.items()}, folder)
    _remove_others(layout, params)


def _evaluate(layout: Layout, params: Params, name: str, val: ImageSet, test: ImageSet) -> Judged:
    """Writes the reports and figures of a detector; returns its outcomes on test."""
    detector = PackagedDetector(layout.packaged(name), params.compute.threads)
    if detector.metadata["val_digest"] != set_digest(val):
        raise MedscreenError(
            f"models/{name}/detector.onnx: not calibrated on the current data/curated/development/val. Run `dvc repro`."
        )
    rows = _predictions(layout, name, detector, test)
    half, findings = detector.metadata["decision_boundary"], detector.metadata["findings"]
    judged = {split: _judged(rows, split, half, test) for split in _REPORTED}
    if empty := [split for split, of in judged.items() if not len(of.outcomes.labels)]:
        raise MedscreenError(f"data/curated/development/{empty[0]} has no images: check the splits of the data.")
    report = metrics(judged, params.evaluation, params.seed)
    by_seed = _scores_by_seed(layout, params, name, val, test)
    tables = analysis(judged, findings, by_seed, params.evaluation, params.seed)
    explanations = _explanations(layout, params, name, detector, test)
    _save(layout, name, report, tables, explanations)
    with replaced(layout.figures(name)) as folder:
        folder.mkdir()
        _draw(layout, name, judged, tables, detector.metadata["operating_point"], folder)
        graph = layout.map_graph(name) if explanations["shown"] else None
        cases = folder / layout.cases_picture(name).name
        _draw_cases(params, detector, graph, val, judged["val"].outcomes, cases)
        _draw_embeddings(layout, name, folder / "embedding.png")
    auroc = report["test"]["auroc"]
    known = None not in auroc.values()
    shown = f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})" if known else TOO_FEW
    print(f"{name}: test AUROC {shown}")
    return judged["test"]


def _predictions(layout: Layout, name: str, detector: PackagedDetector, test: ImageSet) -> pa.Table:
    """Saves and returns the outputs for all splits; screens test again only for a new graph or new images."""
    path, digest = layout.predictions(name), packaged_digest(layout.packaged(name))
    if predicted_by(layout.development_predictions(name)) != digest:
        raise MedscreenError(
            f"models/{name}/development.parquet: not the outputs of models/{name}/detector.onnx. Run "
            f"`dvc repro --force calibrate@{name}`."
        )
    on_test = set_digest(test).encode()
    known = _saved(path, digest, on_test)
    if known is not None:
        return known
    of_test = prediction_rows(TEST, test, detector.screen(test.pixels), detector.metadata["findings"])
    development = pq.read_table(
        layout.development_predictions(name), columns=of_test.column_names, page_checksum_verification=True
    )
    rows = pa.concat_tables([development, of_test])
    save_predictions(rows, path, digest, {_ON_TEST: on_test})
    return rows


def _saved(path: Path, digest: str, on_test: bytes) -> pa.Table | None:
    """Saved predictions of this graph for these test images; None if missing, damaged or of others."""
    if predicted_by(path) != digest:
        return None
    try:
        rows = pq.read_table(path, page_checksum_verification=True)
    except (OSError, ValueError):  # base classes of pyarrow's errors
        return None
    return rows if (rows.schema.metadata or {}).get(_ON_TEST) == on_test else None


def _judged(rows: pa.Table, split: str, half: float | None, test: ImageSet) -> Judged:
    of_split = rows.filter(pc.field("split") == split)
    in_domain = of_split["in_domain"].to_numpy() if "in_domain" in of_split.column_names else None
    return Judged(
        outcomes_of_rows(of_split, half),
        test.attributes if split == TEST else {},
        of_split["p_value"].to_numpy().astype(np.float64),
        class_probabilities(of_split),
        in_domain,
    )


def _scores_by_seed(
    layout: Layout, params: Params, name: str, val: ImageSet, test: ImageSet
) -> dict[int, dict[str, Floats]]:
    """Seed -> split -> scores (N,) of val and test, for the trainings with further seeds."""
    splits = {"val": val, TEST: test}
    found: dict[int, dict[str, Floats]] = {}
    for seed in params.seeds:
        network = onnx.load(layout.trained_with(name, seed))
        graph = scoring_graph(network, int(test.pixels.shape[1])).SerializeToString()
        trained = PackagedDetector(graph, params.compute.threads)
        found[seed] = {split: trained.score(images.pixels).astype(np.float64) for split, images in splits.items()}
    return found


def _explanations(
    layout: Layout, params: Params, name: str, detector: PackagedDetector, test: ImageSet
) -> dict[str, Any]:
    """Results of the tests of the explanation map on abnormal images of test; without a map, the reason."""
    stated: dict[str, Any] = detector.metadata["explanation"]
    if stated["map"] is None:
        return {"shown": False, **stated}
    graph = layout.map_graph(name)
    if not graph.is_file() or file_digest(graph) != stated["digest"]:
        raise MedscreenError(
            f"models/{name}/fitted/explain.onnx: not the file whose digest models/{name}/detector.onnx holds. "
            "Run `dvc repro`."
        )
    abnormal = test.take(test.labels == 1)
    masks = np.load(layout.lesion_masks)[test.labels == 1] if layout.lesion_masks.is_file() else None
    bootstrap = Bootstrap(params.evaluation.resamples, params.evaluation.confidence, params.seed)
    return prove(Subject(detector, graph, abnormal, masks, params.compute.threads), bootstrap)


def _save(
    layout: Layout, name: str, report: dict[str, Any], tables: dict[str, Any], explanations: dict[str, Any]
) -> None:
    with replaced(layout.report(name)) as folder:
        folder.mkdir()
        (folder / layout.evaluation(name).name).write_text(json.dumps(report, indent=1))
        (folder / layout.analysis(name).name).write_text(json.dumps(tables, indent=1))
        (folder / layout.explanations(name).name).write_text(json.dumps(explanations, indent=1))
        save_threshold_comparison(tables["threshold_comparison"], folder / layout.threshold_comparison(name).name)
    with replaced(layout.metrics / f"{name}.json") as partial:
        partial.write_text(json.dumps(headline(report), indent=1))


def _draw(
    layout: Layout,
    name: str,
    judged: Mapping[str, Judged],
    tables: dict[str, Any],
    point: Mapping[str, Any],
    folder: Path,
) -> None:
    shown = {split: judged[split].outcomes for split in ("val", "test")}
    healthy_p_values = judged["test"].p_values[shown["test"].labels == 0]
    save_pictures(shown, healthy_p_values, tables, float(point["threshold"]), name, folder)
    save_operating(shown, point, name, folder / layout.operating_picture(name).name)


def _draw_cases(
    params: Params, detector: PackagedDetector, graph: Path | None, val: ImageSet, outcomes: Outcomes, path: Path
) -> None:
    """Draws cases of val; `graph`: ONNX file of the explanation map, None if maps are not shown."""
    stated, threshold = detector.metadata, detector.metadata["operating_point"]["threshold"]
    simulated = " (simulated)" if isinstance(params.datasets[params.dataset], PhantomParams) else ""
    title = f"{stated['detector']}: val of {params.dataset}{simulated}, threshold {threshold:.4g}"
    shown = (PackagedMap(graph, params.compute.threads), stated["explanation"]["unit"]) if graph else None
    save_cases(path, val.pixels, outcomes, title, shown)


def _draw_embeddings(layout: Layout, name: str, path: Path) -> None:
    """Draws the embeddings of the development images if they have two or more dimensions."""
    rows = pq.read_table(layout.development_predictions(name), page_checksum_verification=True)
    if EMBEDDING_COLUMN in rows.column_names:
        embeddings = np.stack(rows[EMBEDDING_COLUMN].to_numpy())
        if embeddings.shape[1] > 1:
            labels, splits = rows["label"].to_numpy(), rows["split"].to_numpy()
            save_picture(
                path, f"{name}, embeddings of the development images", draw_embeddings, embeddings, labels, splits
            )


def _remove_others(layout: Layout, params: Params) -> None:
    """Removes results of detectors that are no longer in the roster."""
    for folder in (layout.all_reports, layout.metrics, layout.all_figures, layout.all_predictions):
        for path in folder.iterdir():
            if path.name.split(".")[0] not in params.detectors and not path.name.startswith("."):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    run_stage("evaluate", lambda layout, params: evaluate(layout, params, sys.argv[1:]))
