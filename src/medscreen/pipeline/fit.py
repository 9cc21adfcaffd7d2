"""Stage fit: trains a detector on train and tune and exports its network to ONNX."""

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from safetensors.torch import load, save_file
from torch import Tensor

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.config.params import Params
from medscreen.data.images import ImageSet, curated_images, set_digest
from medscreen.detectors.build import build
from medscreen.detectors.map_network import export_map
from medscreen.detectors.shared.base import Detector
from medscreen.detectors.shared.onnx_export import export_network
from medscreen.pipeline.progress_bar import progress
from medscreen.pipeline.stage_runner import run_stage
from medscreen.tracking.runs import live_run
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import digest_of, file_digest
from medscreen.workspace.layout import Layout

_STATE = "state.safetensors"
_SEEN = ("train", "tune")


def fit(layout: Layout, params: Params, name: str) -> None:
    """Writes models/<name>/fitted; logs the loss curves to MLflow during training."""
    entry = params.detector(name)
    splits = {split: curated_images(layout, split) for split in _SEEN}
    size = int(splits["train"].pixels.shape[1])
    data = {split: {"digest": set_digest(images), "images": len(images)} for split, images in splits.items()}
    # val is not used for training: its digest in fit.json makes DVC rerun `calibrate` for another val
    val = curated_images(layout, "val")
    data["val"] = {"digest": set_digest(val), "images": len(val)}
    key = _run_key(layout, params, entry, data)

    def known(member: DetectorEntry) -> Mapping[str, Tensor] | None:
        return _trained_before(layout, params, _run_key(layout, params, member, data))

    detector = build(entry, size, params.compute, params.seed, known)
    dataset = json.loads(layout.raw.read_text())["dataset"]
    history: list[dict[str, float]] = []
    with live_run(layout, dataset, name, key) as live, progress(f"{name}: epoch", entry.epochs) as advance:

        def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
            history.append({"epoch": epoch, **terms})
            live.on_epoch(epoch, terms)
            advance(" ".join(f"{term} {value:.4g}" for term, value in terms.items()))

        detector.fit(splits["train"], splits["tune"], on_epoch)
    graph = export_network(detector, size)
    explained = export_map(entry, detector, size)
    further = _with_further_seeds(params, name, size, splits)
    with replaced(layout.fitted(name)) as folder:
        folder.mkdir()
        for seed, trained in further.items():
            onnx.save(trained, folder / layout.trained_with(name, seed).name)
        _save(folder, detector, graph, history)
        if explained.graph is not None:
            onnx.save(explained.graph, folder / layout.map_graph(name).name)
        about = {
            "run_key": key,
            "code": _code(layout, entry),
            "state": file_digest(folder / _STATE),
            "data": data,
            "image_size": size,
            "display": splits["train"].display.model_dump(),
            "decision_boundary": detector.decision_boundary,
            "findings": detector.findings,
            "explanation": explained.about,
            "files": {path.name: file_digest(path) for path in sorted(folder.iterdir())},
        }
        (folder / "fit.json").write_text(json.dumps(about, indent=1))
    print(f"{name}: fitted" + (f" in {len(history)} epochs" if history else ""))


def _with_further_seeds(
    params: Params, name: str, size: int, splits: Mapping[str, ImageSet]
) -> dict[int, onnx.ModelProto]:
    """Seed -> network of the same detector trained with that seed, for the spread over seeds."""
    trained = {}
    for seed in params.seeds:
        detector = build(params.detector(name), size, params.compute, seed).fit(splits["train"], splits["tune"])
        trained[seed] = export_network(detector, size)
        print(f"{name}: fitted with seed {seed}")
    return trained


def _run_key(layout: Layout, params: Params, entry: DetectorEntry, data: dict[str, Any]) -> str:
    """Run key: digest of settings, seed, data and code. Equal keys give the same network."""
    ingredients = {
        "detector": entry.model_dump(),
        "seed": params.seed,
        "compute": params.compute.model_dump(),
        "data": {split: data[split]["digest"] for split in ("train", "tune")},
        # a missing file raises its error later, in `build`
        "files": [file_digest(path) if path.is_file() else "" for path in entry.files],
        "code": _code(layout, entry),
    }
    return digest_of(json.dumps(ingredients, sort_keys=True))


def _code(layout: Layout, entry: DetectorEntry) -> str:
    return code_digest(stage_code(layout.workspace, "fit", entry.kinds))


def _trained_before(layout: Layout, params: Params, key: str) -> dict[str, Tensor] | None:
    """State dict of a detector in the workspace that was trained with this run key; None if there is none."""
    for name in params.detectors:
        folder = layout.fitted(name)
        try:
            fitted = json.loads((folder / "fit.json").read_text())
            state = (folder / _STATE).read_bytes()
            left = (fitted["run_key"], fitted["state"])
        except (OSError, ValueError, KeyError, TypeError):  # missing, damaged, or without digests (older medscreen)
            continue
        # the digest of the state rules out a file that was changed or is being replaced
        if left == (key, digest_of(state)):
            print(f"network reused from {name}: same run key")
            return load(state)
    return None


def _save(folder: Path, detector: Detector, graph: onnx.ModelProto, history: list[dict[str, float]]) -> None:
    save_file({k: v.contiguous() for k, v in detector.network.state_dict().items()}, folder / _STATE)
    onnx.save(graph, folder / "network.onnx")
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)


if __name__ == "__main__":
    run_stage(f"fit@{sys.argv[1]}", lambda layout, params: fit(layout, params, sys.argv[1]))
