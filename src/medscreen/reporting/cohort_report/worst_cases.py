"""Worst cases of val: the normal images with the highest scores and the abnormal ones with the lowest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medscreen.data.display import Grey
from medscreen.data.images import ImageSet
from medscreen.errors import MedscreenError
from medscreen.packaging.predictions import predicted_by
from medscreen.reporting.cohort_report.published import named
from medscreen.tracking.detector_results import Result
from medscreen.workspace.keyed_names import keyed_name, names_key
from medscreen.workspace.layout import Layout

_CASES = 5  # per class


@dataclass(frozen=True)
class WorstCase:
    """An image of val: keyed `name`, pixels, and `row` of the outputs of the packaged detector."""

    name: str
    pixels: Grey
    row: Mapping[str, Any]


def worst_cases(layout: Layout, result: Result, val: ImageSet) -> dict[str, list[WorstCase]]:
    """Up to five images each under `scored_high` and `scored_low`, worst first; `val`: the scored images."""
    path = layout.development_predictions(result.detector)
    with named(layout, path):
        rows = pq.read_table(path, filters=pc.field("split") == "val", page_checksum_verification=True)
        scores, origins = rows["score"].to_numpy(), rows["origin"].to_pylist()
    if predicted_by(path) != result.digest or origins != list(val.origins):
        raise MedscreenError(
            f"models/{result.detector}/development.parquet: not the scores of models/{result.detector}/detector.onnx "
            f"for the images of data/curated. Run `dvc repro --force calibrate@{result.detector}`."
        )
    found, key = {}, names_key(layout.names_key)
    for kind, label, badness in (("scored_high", 0, scores), ("scored_low", 1, -scores)):
        of_label = np.flatnonzero(val.labels == label)
        worst = of_label[np.argsort(-badness[of_label], kind="stable")[:_CASES]]
        found[kind] = [
            WorstCase(keyed_name(row["origin"], key), np.asarray(val.pixels[i]), row)
            for i, row in zip(worst, rows.take(worst).to_pylist(), strict=True)
        ]
    return found
