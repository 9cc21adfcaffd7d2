"""Calibration: packages a fitted detector with its domain check and the operating point chosen on val."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa

from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.params import Params
from medscreen.data.images import DEVELOPMENT, ImageSet, curated_images, set_digest
from medscreen.errors import MedscreenError
from medscreen.operating.decision_nodes import package
from medscreen.operating.domain_check import with_domain_check
from medscreen.operating.domain_nodes import EMBEDDING
from medscreen.operating.graph_values import Values, values_from
from medscreen.operating.operating_point import choose_operating_point
from medscreen.packaging.disclosure import disclosed
from medscreen.packaging.packaged_detector import Screening, packaged_digest
from medscreen.packaging.predictions import prediction_rows, save_predictions, with_embeddings
from medscreen.packaging.scoring_graph import scoring_graph
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout


def calibrate(layout: Layout, params: Params, name: str) -> None:
    """Writes models/<name>/detector.onnx and development.parquet."""
    fitted = layout.fitted(name)
    about = _read_whole(fitted)
    splits = {split: curated_images(layout, split) for split in DEVELOPMENT}
    train, tune, val = splits.values()
    if set_digest(val) != about["data"]["val"]["digest"]:
        raise MedscreenError(f"{name}: fitted with another val split than that in data/curated. Run `dvc repro`.")
    scoring = scoring_graph(onnx.load(fitted / "network.onnx"), about["image_size"])
    views, threads = _views(params.detector(name)), params.compute.threads
    checked, domain, values = with_domain_check(scoring, train, (tune, val), views, threads)
    stated = {element: disclosed(of_images, train.patients) for element, of_images in train.dicom.items()}
    scores_of_val = values[DEVELOPMENT.index("val")]["score"].astype(np.float64)
    point = choose_operating_point(params.operating, scores_of_val, val.labels, about["decision_boundary"])
    metadata = {
        "detector": name,
        "parameters": params.detector(name).model_dump(),
        "image_size": about["image_size"],
        "display": about["display"],
        "decision_boundary": about["decision_boundary"],
        "findings": about["findings"],
        "explanation": _explanation(about),
        "val_digest": about["data"]["val"]["digest"],
        "domain": domain | {"dicom": stated},
        "use": "research only, never diagnosis",
    }
    model = package(checked, point, metadata)
    with replaced(layout.packaged(name)) as partial:
        onnx.save(model, partial)
    screenings = [_screening(model, found, about["image_size"], threads) for found in values]
    rows = _rows(splits, screenings, about["findings"])
    if all(EMBEDDING in found for found in values):
        rows = with_embeddings(rows, np.concatenate([found[EMBEDDING] for found in values]))
    save_predictions(rows, layout.development_predictions(name), packaged_digest(layout.packaged(name)))
    print(f"{name}: threshold {point.threshold:.6g} by {point.policy} on val")


def _explanation(about: Mapping[str, Any]) -> dict[str, Any]:
    """Description of the map in fit.json, with the digest of its graph."""
    stated = about.get("explanation", {"map": None, "reason": "it was fitted by a version of medscreen without maps"})
    return {**stated, "digest": about["files"]["explain.onnx"]} if stated["map"] else dict(stated)


def _rows(splits: Mapping[str, ImageSet], screenings: Any, findings: list[str]) -> pa.Table:
    pairs = zip(splits.items(), screenings, strict=True)
    return pa.concat_tables([prediction_rows(split, images, found, findings) for (split, images), found in pairs])


def _screening(model: onnx.ModelProto, values: Values, side: int, threads: int) -> Screening:
    """Outputs of a packaged graph, computed from given scores and distances."""
    computed = {name: array for name, array in values.items() if name not in {"findings", EMBEDDING}}
    outputs = [field.name for field in fields(Screening) if field.name not in {"score", "findings"}]
    decided = values_from(model, computed, outputs, side, threads)
    return Screening(score=values["score"], findings=values.get("findings"), **decided)


def _views(entry: DetectorParams) -> int:
    """Number of views of an image (test-time augmentation)."""
    recipe = getattr(entry, "recipe", None)
    return 1 if recipe is None else recipe.tta


def _read_whole(fitted: Path) -> dict[str, Any]:
    """Reads fit.json; raises MedscreenError if a file in it differs from its digest.

    Without this check, a damaged network would have the run key of an intact one.
    """
    name = f"models/{fitted.parent.name}/{fitted.name}"
    again = (
        f"Remove {name} and its objects below `dvc cache dir` (`medscreen verify` names damaged ones), then run "
        "`dvc repro`, or `dvc pull` from a remote."
    )
    try:
        about: dict[str, Any] = json.loads((fitted / "fit.json").read_text())
    except ValueError as error:
        raise MedscreenError(f"{name}/fit.json: damaged, not JSON. {again}") from error
    for file, digest in about.get("files", {}).items():  # older versions of medscreen recorded no digests
        path = fitted / file
        if not path.is_file() or file_digest(path) != digest:
            raise MedscreenError(f"{name}/{file}: damaged, its digest is not that of the training. {again}")
    return about
