"""Chooses one detector's operating point on val and appends it, with the domain check, to its graph."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet as pq

from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params
from medscreen.data.attributes import disclosed
from medscreen.data.images import curated_images
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import package
from medscreen.operating.domain_check import with_domain_check
from medscreen.operating.operating_point import choose_operating_point
from medscreen.pipeline.stage_runner import run_stage
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout


def calibrate(layout: Layout, params: Params, name: str) -> None:
    """Writes models/<name>/operating.json and models/<name>/detector.onnx."""
    fitted = layout.fitted(name)
    about = _read_whole(fitted)
    scores = pq.read_table(fitted / "scores.parquet", filters=[("split", "==", "val")])
    point = choose_operating_point(
        params.operating,
        scores["score"].to_numpy().astype(np.float64),
        scores["label"].to_numpy().astype(np.int64),
        about["score_at_half"],
    )
    train, tune, val = (curated_images(layout, split) for split in ("train", "tune", "val"))
    scoring = onnx.load(fitted / "network.onnx")
    views = _views(params.detector(name))
    checked, domain = with_domain_check(scoring, train, (tune, val), views, params.compute.threads)
    domain["dicom"] = {name: disclosed(stated, train.patients) for name, stated in train.dicom.items()}
    metadata = {
        "detector": name,
        "parameters": params.detector(name).model_dump(),
        "image_size": about["image_size"],
        "display": about["display"],
        "score_at_half": about["score_at_half"],
        "findings": about["findings"],
        "val_digest": about["data"]["val"]["digest"],
        "domain": domain,
        "use": "research only, never diagnosis",
    }
    model = package(checked, point, metadata)
    with replaced(layout.packaged(name)) as partial:
        onnx.save(model, partial)
    with replaced(layout.operating_point(name)) as partial:
        partial.write_text(json.dumps(asdict(point) | {"domain": domain}, indent=1))
    print(f"{name}: threshold {point.threshold:.6g} by {point.policy} on val")


def _views(entry: DetectorParams) -> int:
    """How many views of an image the detector looks at."""
    recipe = getattr(entry, "recipe", None)
    return 1 if recipe is None else recipe.views


def _read_whole(fitted: Path) -> dict[str, Any]:
    """The content of fit.json; raises MedscreenError where a file that it names is not as `fit` wrote it.

    A damaged network would pass for a new operating point of the one in Production: its training is the same.
    """
    name = f"models/{fitted.parent.name}/{fitted.name}"
    again = (
        f"Remove {name} and what `dvc cache dir` holds of it (`medscreen verify` names damaged objects), then run "
        "`dvc repro`, or `dvc pull` where a remote has it."
    )
    try:
        about: dict[str, Any] = json.loads((fitted / "fit.json").read_text())
    except ValueError as error:
        raise MedscreenError(f"{name}/fit.json: damaged, no JSON. {again}") from error
    for file, digest in about.get("files", {}).items():  # a medscreen before had no digests here
        path = fitted / file
        if not path.is_file() or file_digest(path) != digest:
            raise MedscreenError(f"{name}/{file}: damaged, it is not the file that the training wrote. {again}")
    return about


if __name__ == "__main__":
    run_stage(f"calibrate@{sys.argv[1]}", lambda layout, params: calibrate(layout, params, sys.argv[1]))
