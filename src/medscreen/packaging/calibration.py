"""From a fitted detector to its package: the operating point, chosen on val, and the domain check."""

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
        raise MedscreenError(f"{name} was fitted beside another val than data/curated holds; run `dvc repro`.")
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
    """The detector's map as fit.json describes it, with the digest of its graph."""
    stated = about.get("explanation", {"map": None, "reason": "it was fitted by a medscreen that had no maps"})
    return {**stated, "digest": about["files"]["explain.onnx"]} if stated["map"] else dict(stated)


def _rows(splits: Mapping[str, ImageSet], screenings: Any, findings: list[str]) -> pa.Table:
    pairs = zip(splits.items(), screenings, strict=True)
    return pa.concat_tables([prediction_rows(split, images, found, findings) for (split, images), found in pairs])


def _screening(model: onnx.ModelProto, values: Values, side: int, threads: int) -> Screening:
    """The outputs of a packaged graph, from the score and the distances that are known already."""
    known = {name: array for name, array in values.items() if name not in {"findings", EMBEDDING}}
    wanted = [field.name for field in fields(Screening) if field.name not in {"score", "findings"}]
    decided = values_from(model, known, wanted, side, threads)
    return Screening(score=values["score"], findings=values.get("findings"), **decided)


def _views(entry: DetectorParams) -> int:
    """Number of views of an image (test-time augmentation)."""
    recipe = getattr(entry, "recipe", None)
    return 1 if recipe is None else recipe.tta


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
