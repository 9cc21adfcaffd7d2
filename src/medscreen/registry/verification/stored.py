"""The version itself: its package, and whether what its run keeps agrees with itself."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from medscreen.errors import MedscreenError
from medscreen.evaluation import Outcomes, auroc
from medscreen.evaluation.bootstrap import rounded
from medscreen.layout import Layout
from medscreen.lineage import lineage_digest
from medscreen.packaging.detector import PackagedDetector, packaged_digest
from medscreen.params import Params
from medscreen.registry.decisions import DecisionLog
from medscreen.registry.record import Record
from medscreen.registry.verification.finding import (
    OPERATING_POINT,
    PACKAGE,
    RECORD,
    Finding,
    changed,
    listed,
    matches,
    unreachable,
)
from medscreen.tracking.results import logged_params
from medscreen.tracking.runs import LINEAGE, LINEAGE_FILE, SCORES, flat_metrics

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


def check_lineage(record: Record) -> Iterator[Finding]:
    """The lineage against the digests that run and version carry."""
    said = {record.run.data.tags.get(LINEAGE), record.version.tags.get(LINEAGE)}
    if record.content(LINEAGE_FILE) is None:
        if said == {None}:
            yield unreachable(RECORD, f"the run keeps no {LINEAGE_FILE}: it is of a time before there was one")
        else:
            yield changed(RECORD, f"{LINEAGE_FILE} is lost, and with it what the version was made from")
    elif record.lineage is None:
        yield changed(RECORD, f"{LINEAGE_FILE} is damaged, and with it what the version was made from")
    elif said == {digest := lineage_digest(record.lineage)}:
        yield matches(RECORD, f"{LINEAGE_FILE} has the digest that run and version carry, {digest}")
    else:
        carried = " and ".join(sorted(str(one) for one in said))
        yield changed(RECORD, f"{LINEAGE_FILE} has the digest {digest}, run and version carry {carried}")


def check_logged_params(record: Record) -> Iterator[Finding]:
    """The run's parameters in MLflow against the params.yaml of the lineage."""
    if record.lineage is None:
        return
    params = Params.model_validate(record.params)
    expected = logged_params(params, record.lineage["detector"], record.lineage["dataset"])
    logged = record.run.data.params
    different = [
        f"{name} is {logged.get(name, 'not there')}, params.yaml had {value}"
        for name, value in expected.items()
        if logged.get(name) != str(value)
    ]
    if different:
        yield changed(RECORD, f"parameters in MLflow: {listed(different)}")
    else:
        yield matches(RECORD, f"{len(expected)} parameters in MLflow are those of its params.yaml")


def check_logged_metrics(record: Record) -> Iterator[Finding]:
    """The run's metrics in MLflow against its evaluation.json, and AUROC on val against its scores."""
    logged = record.run.data.metrics
    evaluation = record.json("evaluation.json")
    if evaluation is None:
        says = "the run keeps no evaluation.json"
        if not record.has_own_training:
            says += ": `medscreen threshold` computes rates alone"
        yield unreachable(RECORD, says)
    else:
        expected = dict(flat_metrics(evaluation))
        different = [
            f"{name} is {logged.get(name, 'not there')}, evaluation.json has {value}"
            for name, value in expected.items()
            if logged.get(name) != value
        ]
        if different:
            yield changed(RECORD, f"metrics in MLflow: {listed(different)}")
        else:
            yield matches(RECORD, f"{len(expected)} metrics in MLflow are those of evaluation.json")
    yield _recomputed_auroc(record, logged)


def _recomputed_auroc(record: Record, logged: Mapping[str, float]) -> Finding:
    scores = record.scores("val")
    if scores is None or "val/auroc" not in logged:
        missing = SCORES if scores is None else "val/auroc"
        return unreachable(RECORD, f"the run keeps no {missing}, so AUROC on val can't be computed again")
    labels = scores["label"].to_numpy().astype(np.int64)
    values = scores["score"].to_numpy().astype(np.float64)
    outcomes = Outcomes(labels, values, values > 0, scores["patient"].to_numpy(), None)
    computed = rounded(auroc(outcomes, np.ones((1, len(labels))))[0])
    if computed != logged["val/auroc"]:
        return changed(RECORD, f"AUROC on val is {computed:.6f} by {SCORES}, {logged['val/auroc']:.6f} in MLflow")
    return matches(RECORD, f"AUROC on val, computed again from {SCORES}, is the logged {computed:.6f}")


def check_decision(record: Record, layout: Layout) -> Iterator[Finding]:
    """Whether a decision put the version into its stage."""
    version = record.version
    moves = DecisionLog(record.client, layout, version.model).moves()
    if version.stage == "None":
        yield matches(RECORD, "it has no stage, which takes no decision")
        return
    if version.stage == "Archived":
        put = next((m for m in moves if version.number in (m.replaced, m.version)), None)
    else:
        put = next((m for m in moves if m.stage == version.stage), None)
        put = put if put is not None and put.version == version.number else None
    if put is None:
        yield changed(RECORD, f"it is in {version.stage}, and no decision in the log put it there")
    else:
        yield matches(RECORD, f"decision {put.number} of {put.at[:10]} by {put.by} put it into {version.stage}")
