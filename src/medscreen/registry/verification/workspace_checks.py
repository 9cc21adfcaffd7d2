"""What the workspace has now, scored and digested again, against what the version was made from."""

import json
from collections.abc import Iterator, Mapping
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
from medscreen.registry.verification.finding import (
    DATA,
    PARAMETERS,
    SCORES,
    Finding,
    changed,
    listed,
    matches,
    unreachable,
)
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout


def other_dataset(layout: Layout, lineage: Mapping[str, Any]) -> str:
    """Why the workspace holds no data of the version: another data set is active; "" where its own is."""
    try:
        now = json.loads(layout.raw.read_text())["dataset"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: whoever needs it says so
        return ""
    wanted = lineage["dataset"]
    return "" if now == wanted else f"the workspace holds {now}; `make repro DATASET={wanted}` makes {wanted} active"


def check_scores(record: Record, layout: Layout, threads: int) -> Iterator[Finding]:
    """The workspace's val scored again by the package, where it is the val that the version was judged on."""
    kept, graph = record.scores_of("val"), record.graph
    folder = layout.curated("val")
    if kept is None or graph is None:
        yield unreachable(SCORES, "the run keeps no scores" if kept is None else "the package is lost")
        return
    if not folder.is_dir():
        yield unreachable(SCORES, "data/curated/development/val is not in the workspace; `dvc checkout` brings it")
        return
    images = load_images(folder)
    if set_digest(images) != record.version.val_digest:
        yield unreachable(SCORES, "the workspace's val is not the one of the version, so there is nothing to compare")
        return
    said = PackagedDetector(graph, threads).score(images.pixels)
    then = kept["score"].to_numpy()
    if np.array_equal(said, then):
        yield matches(SCORES, f"the package gives {len(said)} images of val the kept scores, bit for bit")
    elif len(said) == len(then) and np.allclose(said, then, rtol=1e-5, atol=1e-6):
        # the last bits of a sum depend on processor, threads and version of ONNX Runtime
        apart = float(np.max(np.abs(said - then)))
        yield matches(SCORES, f"the package gives {len(said)} images of val the kept scores to within {apart:.1e}")
    else:
        other = int((said != then).sum()) if len(said) == len(then) else len(said)
        yield changed(SCORES, f"{other} of {len(said)} images of val have other scores than the run keeps")


def check_splits(layout: Layout, lineage: Mapping[str, Any], elsewhere: str) -> Iterator[Finding]:
    """The digests of the curated images, computed again from the pixels."""
    if elsewhere:
        yield unreachable(DATA, elsewhere)
        return
    # test among them: a digest says whether it is the same, and scores nothing
    for split, digest in lineage["data"]["splits"].items():
        folder = layout.curated(split)
        where = folder.relative_to(layout.workspace).as_posix()
        if not folder.is_dir():
            yield unreachable(DATA, f"{where} is not in the workspace; `dvc checkout` brings it")
            continue
        try:
            with open_test_split():
                images = load_images(folder)
            now = set_digest(images)
        except Exception as error:  # a damaged array or table fails in many ways
            yield changed(
                DATA, f"{where} can't be read ({' '.join(str(error).split())}); `dvc checkout` brings it back"
            )
            continue
        if now == digest:
            yield matches(DATA, f"{where}: pixels, labels and people of {len(images)} images have their digest")
        else:
            yield changed(DATA, f"{where} holds other pixels, labels or people: digest {now}, was {digest}")


def check_sources(layout: Layout, lineage: Mapping[str, Any]) -> Iterator[Finding]:
    """The source files that the data were curated from; a phantom that is not there is not made."""
    raw = _raw(layout, lineage)
    if raw is None:
        yield unreachable(DATA, "neither the workspace nor DVC's cache has the list of its source files")
        return
    try:
        settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(raw["settings"])
    except ValidationError:
        yield unreachable(DATA, "the list of its source files does not say where they are")
        return
    root = sources.root_of(settings, layout.workspace)
    if not root.is_dir():
        yield unreachable(
            DATA, f"its {len(raw['files'])} source files are not here: there is no folder {settings.root}"
        )
        return
    lost = [name for name in raw["files"] if not (root / name).is_file()]
    other = [name for name, digest in raw["files"].items() if name not in lost and file_digest(root / name) != digest]
    if lost:
        yield changed(DATA, f"{len(lost)} source files are missing below {settings.root}: {listed(lost)}")
    if other:
        yield changed(DATA, f"{len(other)} source files below {settings.root} have changed: {listed(other)}")
    if not lost and not other:
        yield matches(DATA, f"{len(raw['files'])} source files below {settings.root} have their digests")


def _raw(layout: Layout, lineage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data/raw.json of then. MLflow has none: names of files may say whose images they are."""
    outs = lineage["dvc.lock"].get("raw", {}).get("outs", [])
    paths = [layout.raw]
    with suppress(Exception):  # no DVC here: check_objects says so
        paths += [Objects(layout).cached(out["md5"]) for out in outs]
    for path in paths:
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            if content["digest"] == lineage["data"]["digest"]:
                return content
        except (OSError, ValueError, KeyError, TypeError):  # absent or damaged: the next one may do
            continue
    return None


def check_parameters(record: Record, layout: Layout) -> Iterator[Finding]:
    """The workspace's params.yaml against that of then, where the detector's chain depends on it."""
    detector, dataset = record.version.detector, (record.lineage or {})["dataset"]
    now = _relevant(yaml.safe_load(layout.params.read_text()), detector, dataset)
    then = _relevant(record.params, detector, dataset)
    if not record.has_own_training:  # its policy was given to `medscreen threshold`
        now, then = ({k: v for k, v in keys.items() if not k.startswith("operating.threshold")} for keys in (now, then))
    different = sorted(key for key in now.keys() | then.keys() if now.get(key, "-") != then.get(key, "-"))
    for key in different:
        yield changed(PARAMETERS, f"{key} is {now.get(key, 'not there')}, was {then.get(key, 'not there')}")
    if not different:
        yield matches(PARAMETERS, f"params.yaml has the {len(then)} values that {detector} depends on")


def _relevant(params: Mapping[str, Any], detector: str, dataset: str) -> dict[str, Any]:
    """Dotted key -> value, of all that a detector's stages read."""
    blocks = {key: params.get(key) for key in ("seed", "seeds", "curation", "compute", "operating", "evaluation")}
    blocks[f"detectors.{detector}"] = params.get("detectors", {}).get(detector)
    blocks[f"datasets.{dataset}"] = params.get("datasets", {}).get(dataset)
    return dict(_leaves(blocks, ""))


def _leaves(block: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
