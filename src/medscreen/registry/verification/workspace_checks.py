"""The workspace of now, scored and digested again, against what the version was made from."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from medscreen.config.datasets import DatasetParams
from medscreen.data.images import load_images, open_test_split, set_digest
from medscreen.data.sources import read_source as sources
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.dvc_objects import Objects
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import Check, agreement, listed
from medscreen.tracking.detector_results import flat_settings
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout


def other_dataset(layout: Layout, lineage: Mapping[str, Any]) -> str:
    """Why the workspace holds no data of the version: another data set is active; "" where its own is."""
    try:
        now = json.loads(layout.raw.read_text())["dataset"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: the check that needs it reports that
        return ""
    wanted = lineage["dataset"]
    return "" if now == wanted else f"the workspace holds {now}; `make repro DATASET={wanted}` makes {wanted} active"


def check_scores(record: Record, layout: Layout, threads: int) -> Check:
    """The workspace's val scored again by the package, where it is the val that the version was judged on."""
    kept, graph = record.scores_of("val"), record.graph
    folder = layout.curated("val")
    if kept is None or graph is None:
        yield "unreachable", "the run keeps no scores" if kept is None else "the package is lost"
        return
    if not folder.is_dir():
        yield "unreachable", "data/curated/development/val is not in the workspace; `dvc checkout` brings it"
        return
    images = load_images(folder)
    if set_digest(images) != record.version.val_digest:
        yield "unreachable", "the workspace's val is not the one of the version, so there is nothing to compare"
        return
    now, then = PackagedDetector(graph, threads).score(images.pixels), kept["score"].to_numpy()
    if np.array_equal(now, then):
        yield "matches", f"the package gives {len(now)} images of val the kept scores, bit for bit"
    elif len(now) == len(then) and np.allclose(now, then, rtol=1e-5, atol=1e-6):
        # the last bits of a sum depend on processor, threads and version of ONNX Runtime
        apart = float(np.max(np.abs(now - then)))
        yield "matches", f"the package gives {len(now)} images of val the kept scores to within {apart:.1e}"
    else:
        other = int((now != then).sum()) if len(now) == len(then) else len(now)
        yield "changed", f"{other} of {len(now)} images of val have other scores than the run keeps"


def check_splits(layout: Layout, lineage: Mapping[str, Any], elsewhere: str) -> Check:
    """The digests of the curated images, computed again from the pixels."""
    if elsewhere:
        yield "unreachable", elsewhere
        return
    # test among them: a digest tells whether it is the same, and scores nothing
    for split, digest in lineage["data"]["splits"].items():
        folder = layout.curated(split)
        where = folder.relative_to(layout.workspace).as_posix()
        if not folder.is_dir():
            yield "unreachable", f"{where} is not in the workspace; `dvc checkout` brings it"
            continue
        try:
            with open_test_split():
                images = load_images(folder)
            now = set_digest(images)
        except Exception as error:  # a damaged array or table fails in many ways
            yield "changed", f"{where} can't be read ({' '.join(str(error).split())}); `dvc checkout` brings it back"
            continue
        yield agreement(
            now == digest,
            f"{where}: pixels, labels and people of {len(images)} images have their digest",
            f"{where} holds other pixels, labels or people: digest {now}, was {digest}",
        )


def check_sources(layout: Layout, lineage: Mapping[str, Any]) -> Check:
    """The source files that the data were curated from; a phantom that is not there is not made."""
    raw = _raw(layout, lineage)
    if raw is None:
        yield "unreachable", "neither the workspace nor DVC's cache has the list of its source files"
        return
    try:
        settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(raw["settings"])
    except ValidationError:
        yield "unreachable", "the list of its source files does not name their folder"
        return
    files, root = raw["files"], sources.root_of(settings, layout.workspace)
    if not root.is_dir():
        yield "unreachable", f"its {len(files)} source files are not here: there is no folder {settings.root}"
        return
    lost = [name for name in files if not (root / name).is_file()]
    other = [name for name, digest in files.items() if name not in lost and file_digest(root / name) != digest]
    if lost:
        yield "changed", f"{len(lost)} source files are missing below {settings.root}: {listed(lost)}"
    if other:
        yield "changed", f"{len(other)} source files below {settings.root} have changed: {listed(other)}"
    if not lost and not other:
        yield "matches", f"{len(files)} source files below {settings.root} have their digests"


def _raw(layout: Layout, lineage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The recorded data/raw.json. MLflow has none: names of files may reveal whose images they are."""
    outs = lineage["dvc.lock"].get("raw", {}).get("outs", [])
    paths = [layout.raw]
    with suppress(Exception):  # no DVC here, which check_objects reports
        paths += [Objects(layout).cached(out["md5"]) for out in outs]
    for path in paths:
        with suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: the next one may do
            content: dict[str, Any] = json.loads(path.read_text())
            if content["digest"] == lineage["data"]["digest"]:
                return content
    return None


def check_parameters(record: Record, layout: Layout) -> Check:
    """The workspace's params.yaml against the recorded one, where the detector's chain depends on it."""
    detector, dataset = record.version.detector, (record.lineage or {})["dataset"]
    now = _relevant(yaml.safe_load(layout.params.read_text()), detector, dataset)
    then = _relevant(record.params, detector, dataset)
    if not record.has_own_training:  # its policy was given to `medscreen threshold`
        now, then = ({k: v for k, v in keys.items() if not k.startswith("operating.threshold")} for keys in (now, then))
    different = sorted(key for key in now.keys() | then.keys() if now.get(key, "-") != then.get(key, "-"))
    for key in different:
        yield "changed", f"{key} is {now.get(key, 'not there')}, was {then.get(key, 'not there')}"
    if not different:
        yield "matches", f"params.yaml has the {len(then)} values that {detector} depends on"


def _relevant(params: Mapping[str, Any], detector: str, dataset: str) -> dict[str, Any]:
    """Dotted key -> value, of all that a detector's stages read."""
    blocks = {key: params.get(key) for key in ("seed", "seeds", "curation", "compute", "operating", "evaluation")}
    blocks[f"detectors.{detector}"] = params.get("detectors", {}).get(detector)
    blocks[f"datasets.{dataset}"] = params.get("datasets", {}).get(dataset)
    return flat_settings(blocks)
