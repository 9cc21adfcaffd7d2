"""The package of a version: whether it is the registered one, and its operating point."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import Check, Status, agreement
from medscreen.tracking.logged_models import other_than_graph
from medscreen.tracking.runs import OPERATING_FILE
from medscreen.workspace.layout import Layout

_LOGGED_AGAIN = "`dvc repro publish` logs it again where the version is the workspace's own"
_NUMBERS = ("threshold", "refer_from", "refer_to")


def check_package(record: Record) -> Check:
    """The logged graph against the digest that the version was registered with, and whether it opens."""
    graph = record.graph
    if graph is None:
        yield "changed", f"model.onnx is lost; {_LOGGED_AGAIN}"
        return
    digest, registered = packaged_digest(graph), record.version.digest
    yield agreement(
        digest == registered,
        f"model.onnx has the digest it was registered with, {digest}",
        f"model.onnx is another artefact: digest {digest}, registered {registered}; {_LOGGED_AGAIN}",
    )
    try:
        PackagedDetector(graph)
        yield "matches", "ONNX Runtime opens it"
    except MedscreenError as error:
        yield "changed", f"ONNX Runtime does not open it: {' '.join(str(error).split())}"
    other = other_than_graph(record.client, record.location)
    yield agreement(not other, "it is what MLflow loads", f"{other}; {_LOGGED_AGAIN}")


def check_operating_point(record: Record, layout: Layout, elsewhere: str) -> Check:
    """Threshold, refer band and policy: what the graph decides by against every place that states them.

    `elsewhere` is the reason why the workspace is of something else, "" if it is not.
    """
    graph = record.graph
    if graph is None:
        yield "unreachable", "the package is lost, and with it its operating point"
        return
    decides, described = _of_graph(onnx.load(graph))
    yield _compared(decides, described, "its own description")
    decides |= {"policy": described["policy"]}
    of_run = record.json(OPERATING_FILE)
    if of_run is None:
        yield "unreachable", "the run keeps no operating.json"
    else:
        yield _compared(decides, of_run, "the run's operating.json")
    path = layout.packaged(record.version.detector)
    name = path.relative_to(layout.workspace).as_posix()
    if elsewhere or not record.has_own_training:
        yield "unreachable", elsewhere or f"{name} is of the version whose network this one shares"
    elif not path.is_file():
        yield "unreachable", f"{name} is not in the workspace; `dvc checkout` brings it"
    else:
        yield _compared(decides, decides | _of_graph(onnx.load(path))[0], f"the workspace's {name}")


def _of_graph(model: onnx.ModelProto) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operating point in the constants of a package's nodes, and the one that its metadata state."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    decides = {name: float(numpy_helper.to_array(constants[f"op_{name}"])) for name in _NUMBERS}
    metadata = next(json.loads(entry.value) for entry in model.metadata_props if entry.key == "medscreen")
    return decides, metadata["operating_point"]


def _compared(decides: Mapping[str, Any], stated: Mapping[str, Any], where: str) -> tuple[Status, str]:
    """Constants of a graph have 32 bits, so that is what is compared."""
    different = [
        f"{name.replace('_', ' ')} {stated[name]}, the package has {value}"
        for name, value in decides.items()
        if (np.float32(stated[name]) != np.float32(value) if name in _NUMBERS else stated[name] != value)
    ]
    return agreement(
        not different,
        f"the package decides at {decides['threshold']:.6g}, as {where} says",
        f"{where} says {'; '.join(different)}",
    )
