"""The package of a version: whether it is the registered one, and at what it decides."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import OPERATING_POINT, PACKAGE, Finding, changed, matches, unreachable
from medscreen.tracking.logged_models import other_than_graph
from medscreen.workspace.layout import Layout

_LOGGED_AGAIN = "`dvc repro publish` logs it again where the version is the workspace's own"
_NUMBERS = ("threshold", "refer_from", "refer_to")


def check_package(record: Record) -> Iterator[Finding]:
    """The logged graph against the digest that the version was registered with, and whether it opens."""
    graph = record.graph
    if graph is None:
        yield changed(PACKAGE, f"model.onnx is lost; {_LOGGED_AGAIN}")
        return
    digest, registered = packaged_digest(graph), record.version.digest
    if digest == registered:
        yield matches(PACKAGE, f"model.onnx has the digest it was registered with, {digest}")
    else:
        yield changed(
            PACKAGE, f"model.onnx is another artefact: digest {digest}, registered {registered}; {_LOGGED_AGAIN}"
        )
    try:
        PackagedDetector(graph)
    except MedscreenError as error:
        yield changed(PACKAGE, f"ONNX Runtime does not open it: {' '.join(str(error).split())}")
    else:
        yield matches(PACKAGE, "ONNX Runtime opens it")
    other = other_than_graph(record.client, record.location)
    if other:
        yield changed(PACKAGE, f"{other}; {_LOGGED_AGAIN}")
    else:
        yield matches(PACKAGE, "it is what MLflow loads")


def check_operating_point(record: Record, layout: Layout, elsewhere: str) -> Iterator[Finding]:
    """Threshold, refer band and policy: what the graph decides by against every place that states them.

    `elsewhere` says why the workspace is of something else, "" if it is not.
    """
    graph = record.graph
    if graph is None:
        yield unreachable(OPERATING_POINT, "the package is lost, so nothing says at what it decides")
        return
    decides, described = _of_graph(onnx.load(graph))
    yield _compared(decides, described, "its own description")
    of_run = record.json("operating.json")
    if of_run is None:
        yield unreachable(OPERATING_POINT, "the run keeps no operating.json")
    else:
        yield _compared(decides | {"policy": described["policy"]}, of_run, "the run's operating.json")
    path = layout.operating_point(record.version.detector)
    name = path.relative_to(layout.workspace).as_posix()
    if elsewhere or not record.has_own_training:
        why = elsewhere or f"{name} is of the version whose network this one shares"
        yield unreachable(OPERATING_POINT, why)
    elif not path.is_file():
        yield unreachable(OPERATING_POINT, f"{name} is not in the workspace; `dvc checkout` brings it")
    else:
        stated = json.loads(path.read_text())
        yield _compared(decides | {"policy": described["policy"]}, stated, f"the workspace's {name}")


def _of_graph(model: onnx.ModelProto) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a package decides by, from its nodes' constants, and what its metadata say of it."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    decides = {name: float(numpy_helper.to_array(constants[f"op_{name}"])) for name in _NUMBERS}
    metadata = next(json.loads(entry.value) for entry in model.metadata_props if entry.key == "medscreen")
    return decides, metadata["operating_point"]


def _compared(decides: Mapping[str, Any], stated: Mapping[str, Any], where: str) -> Finding:
    """Constants of a graph have 32 bits, so that is what is compared."""
    different = [
        f"{name.replace('_', ' ')} {stated[name]}, the package has {value}"
        for name, value in decides.items()
        if (np.float32(stated[name]) != np.float32(value) if name in _NUMBERS else stated[name] != value)
    ]
    if different:
        return changed(OPERATING_POINT, f"{where} says {'; '.join(different)}")
    return matches(OPERATING_POINT, f"the package decides at {decides['threshold']:.6g}, as {where} says")
