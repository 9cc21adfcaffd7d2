"""A checkout as a repro leaves it, in seconds: real curation, packages, evaluation and store; only the training is not.

Its films have four quarters. The brightness of three of them tells normal from abnormal, each a little; a detector is
the mean brightness of some quarters. `whole` sees all three, `half` one and a half, `corner` (the baseline) none.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from mlflow import MlflowClient
from onnx import TensorProto, helper

from factories import FOLDERS, REPOSITORY, change_params, commit_all, new_checkout
from medscreen.config.display import DisplayParams
from medscreen.config.params import Params, load_params
from medscreen.data.curation.curation import curate
from medscreen.data.images import SPLITS, ImageSet, load_images, save_images, set_digest
from medscreen.data.sources.records import Record as SourceRecord
from medscreen.packaging.calibration import calibrate
from medscreen.packaging.scoring_graph import scoring_graph
from medscreen.pipeline.evaluate import evaluate
from medscreen.registry.run_record import Record
from medscreen.registry.versions import Version
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout

SIZE, PATIENTS = 16, 400
MODEL = "films-detector"
CNN: dict[str, Any] = {
    "kind": "cnn", "variant": "residual", "findings": [], "width": 1, "unshuffle": 1, "pooling": "mean",
    "recipe": {
        "loss": "cross_entropy", "focal_gamma": 0.0, "label_smoothing": 0.0, "mixup": 0.0, "balance": "weights",
        "augment": {"pose": 0.0, "exposure": 0.0, "grain": 0.0}, "tta": 1,
    },
    "training": {
        "epochs": 1, "batch_size": 2, "optimizer": "adamw",
        "learning_rate": 0.1, "weight_decay": 0.0, "ema_decay": 0.0, "patience": 1,
    },
}  # fmt: skip
ROSTER = {"corner": {"kind": "statistic", "variant": "gradient"}, "half": CNN, "whole": CNN}
DISPLAY = DisplayParams(window="bone", burned_in="count")  # not the default: it has to travel with a detector
WEIGHTS = {"corner": (0, 0, 0, 1), "half": (1, 0.3, 0, 0), "whole": (1, 1, 1, 0)}


def film(person: int, label: int, separation: float = 22.0) -> np.ndarray:
    """(SIZE, SIZE) grey: quarters of independent brightness, three of them brighter where the label is 1."""
    rng = np.random.default_rng(person)
    quarters = rng.normal(110 + separation * label * np.array([1, 1, 1, 0]), 22).reshape(2, 2)
    pixels = np.kron(quarters, np.ones((SIZE // 2, SIZE // 2))) + rng.normal(0, 4, (SIZE, SIZE))
    return np.clip(pixels, 2, 255).astype(np.uint8)


def network_of_quarters(weights: tuple[float, ...]) -> onnx.ModelProto:
    """The network of a detector as a graph."""
    mask = np.kron(np.reshape(weights, (2, 2)), np.ones((SIZE // 2, SIZE // 2))) / np.mean(weights)
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["images", "mask"], ["seen"]),
            helper.make_node("ReduceMean", ["seen", "axes"], ["score"], keepdims=0),
        ],
        "quarters",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("mask", TensorProto.FLOAT, [1, 1, SIZE, SIZE], mask.astype(np.float32).ravel().tolist()),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def map_of_quarters(weights: tuple[float, ...]) -> onnx.ModelProto:
    """The map graph of a detector: its quarters, and a little of the image."""
    model = network_of_quarters(weights)
    model.graph.initializer[1].name = "quarters.mask"  # dotted: learned, as the names of a network's state
    del model.graph.node[1], model.graph.output[:], model.graph.initializer[0]
    model.graph.node[0].op_type = "Add"  # the quarters are worth more than any image, 0 to 1
    model.graph.node[0].input[1], model.graph.node[0].output[0] = "quarters.mask", "map"
    model.graph.output.append(helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", 1, SIZE, SIZE]))
    return model


def mean_of_quarters(weights: tuple[float, ...]) -> onnx.ModelProto:
    """The scoring graph of a detector."""
    return scoring_graph(network_of_quarters(weights), SIZE)


def settings_of(home: Path) -> Params:
    return load_params(home / "params.yaml")


def curate_films(layout: Layout, seed: int = 7, patients: int = PATIENTS) -> None:
    """Splits of the films, with the audit, as the stages raw and curate leave them."""
    records = [
        SourceRecord(f"{n:04d}.png", film(n, n % 2), f"p{n}", n % 2, finding="spot" * (n % 2), display=DISPLAY)
        for n in range(patients)
    ]
    params = settings_of(layout.workspace)
    layout.scratch.mkdir(parents=True, exist_ok=True)
    curated = curate(records, SIZE, params.curation, seed, 1, layout.scratch / "films")
    audit = curated.audit | {"dataset": "films", "shift": {"auroc": None, "images": {}, "reason": "too few patients"}}
    for split in SPLITS:
        shutil.rmtree(layout.curated(split), ignore_errors=True)
        save_images(curated.images, curated.splits[split], layout.curated(split), split)
        audit["splits"][split]["digest"] = set_digest(curated.images.take(curated.splits[split]))
    layout.curation_report.parent.mkdir(exist_ok=True)
    layout.curation_report.write_text(json.dumps(audit))
    layout.raw.write_text(json.dumps({"dataset": "films", "digest": "films of the tests", "files": {}, "settings": {}}))


def fit_by_hand(layout: Layout, name: str, weights: tuple[float, ...], run_key: str = "") -> None:
    """A detector as the stages fit, calibrate and evaluate leave it."""
    folder = layout.fitted(name)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(network_of_quarters(weights), folder / "network.onnx")
    splits: dict[str, ImageSet] = {split: load_images(layout.curated(split)) for split in ("train", "tune")}
    (folder / "history.csv").write_text("epoch,train_loss\n1,0.5\n")
    data = {split: {"digest": set_digest(of), "images": len(of)} for split, of in splits.items()}
    val = load_images(layout.curated("val"))
    data["val"] = {"digest": set_digest(val), "images": len(val)}
    key = run_key or f"training of {name} {weights}"
    about = {
        "run_key": key,
        "code": code_digest(stage_code(layout.workspace, "fit", settings_of(layout.workspace).detector(name).kinds)),
        "data": data,
        "image_size": SIZE,
        "display": splits["train"].display.model_dump(),
        "decision_boundary": None,
        "findings": [],
        "explanation": {"map": None, "reason": "the corner has no places"},
    }
    if name != "corner":
        onnx.save(map_of_quarters(weights), folder / "explain.onnx")
        about["explanation"] = {"map": "quarter map", "unit": "grey"}
        about["files"] = {"explain.onnx": file_digest(folder / "explain.onnx")}
    (folder / "fit.json").write_text(json.dumps(about))
    params = settings_of(layout.workspace)
    calibrate(layout, params, name)
    evaluate(layout, params, [name])


def new_workspace(home: Path, patients: int = PATIENTS) -> Layout:
    """A checkout with a git commit, three detectors, and no store yet."""
    new_checkout(home)
    shutil.copy(REPOSITORY / ".gitignore", home / ".gitignore")
    params = yaml.safe_load((home / "params.yaml").read_text())
    evaluation = params["evaluation"] | {"resamples": 200}
    change_params(home, dataset="films", datasets={"films": FOLDERS}, detectors=ROSTER, evaluation=evaluation)
    layout = Layout(home, home)
    curate_films(layout, patients=patients)
    commit_all(home)
    for name, weights in WEIGHTS.items():
        fit_by_hand(layout, name, weights)
    return layout


def graph_of(client: MlflowClient, layout: Layout, version: Version) -> Path:
    """Where the packaged graph of a version lies."""
    graph = Record(client, layout, version).graph
    assert graph is not None
    return graph
