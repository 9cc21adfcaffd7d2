"""Runs one packaged detector on every split and reports how good it is; the only reader of test."""

import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medscreen.evaluation import Bootstrap, Outcomes, balanced_view
from medscreen.evaluation import evaluate as measure
from medscreen.figures import save_pictures, save_tables
from medscreen.images import SPLITS, ImageSet, load_images
from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.packaging.detector import PackagedDetector, Screening
from medscreen.params import Params
from medscreen.stages.running import run_stage

_REPORTED: dict[str, list[str] | None] = {
    "train": ["accuracy"],
    "val": None,
    "test": None,
}  # None: all metrics


def evaluate(layout: Layout, params: Params, name: str) -> None:
    """Writes models/<name>/predictions.parquet, reports/<name>/*.json and *.csv, reports/<name>/figures."""
    detector = PackagedDetector(layout.packaged(name), params.compute.threads)
    half = detector.metadata["score_at_half"]
    bootstrap = Bootstrap(params.evaluation.resamples, params.evaluation.confidence, params.seed)
    splits = {split: load_images(layout.curated(split)) for split in SPLITS}
    screenings = {split: detector.screen(images.pixels) for split, images in splits.items()}
    outcomes = {split: _outcomes(images, screenings[split], half) for split, images in splits.items()}
    report: dict[str, Any] = {}
    for split, metrics in _REPORTED.items():
        view = balanced_view(outcomes[split].labels, params.seed)
        report[split] = {
            **measure(outcomes[split], bootstrap, metrics),
            "balanced_view": measure(outcomes[split].take(view), bootstrap, metrics),
        }
    folder = layout.report(name)
    folder.mkdir(parents=True, exist_ok=True)
    with replaced(layout.predictions(name)) as partial:
        pq.write_table(_table(splits, screenings), partial)
    with replaced(folder / "evaluation.json") as partial:
        partial.write_text(json.dumps(report, indent=1))
    with replaced(layout.tables(name)) as partial:
        partial.mkdir()
        save_tables(outcomes["test"], partial)
    with replaced(layout.figures(name)) as partial:
        partial.mkdir()
        threshold = float(detector.metadata["operating_point"]["threshold"])
        save_pictures(outcomes["test"], threshold, f"{name}, test split", partial)
    auroc = report["test"]["auroc"]
    print(f"{name}: test AUROC {auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f})")


def _outcomes(images: ImageSet, screening: Screening, half: float | None) -> Outcomes:
    return Outcomes(images.labels, screening.score.astype(np.float64), screening.abnormal, images.patients, half)


def _table(splits: dict[str, ImageSet], screenings: dict[str, Screening]) -> pa.Table:
    parts = [
        pa.table(
            {
                "split": [split] * len(images),
                "origin": list(images.origins),
                "patient": images.patients,
                "label": images.labels.astype(np.int8),
                "score": screenings[split].score,
                "p_value": screenings[split].p_value,
                "probability": screenings[split].probability,
                "abnormal": screenings[split].abnormal,
                "refer": screenings[split].refer,
            }
        )
        for split, images in splits.items()
    ]
    return pa.concat_tables(parts)


if __name__ == "__main__":
    run_stage(f"evaluate@{sys.argv[1]}", lambda layout, params: evaluate(layout, params, sys.argv[1]))
