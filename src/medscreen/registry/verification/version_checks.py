"""Checks of a version: consistency of its package, its operating point and the record of its run."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from medscreen.config.former_names import current_in_package, with_current_metadata
from medscreen.config.params import Params
from medscreen.evaluation.bootstrap import rounded
from medscreen.evaluation.metrics import auroc
from medscreen.operating.decision_nodes import PREFIX
from medscreen.packaging.packaged_detector import PackagedDetector, packaged_digest
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.registration import tags_of
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import Check, NothingToCompareError, Status, agreement, listed
from medscreen.registry.verification.workspace_checks import require_same_dataset
from medscreen.reporting.model_card.card import version_description
from medscreen.tracking import names
from medscreen.tracking.detector_results import logged_params
from medscreen.tracking.logged_models import other_than_graph
from medscreen.tracking.run_state import settings_of
from medscreen.tracking.runs import flat_metrics
from medscreen.workspace.digests import digest_of
from medscreen.workspace.lineage import digest_of_all, lineage_digest

_LOGGED_AGAIN = "`dvc repro publish` logs it again if the workspace holds the version"
_NUMBERS = ("threshold", "defer_from", "defer_to")


def check_package(record: Record) -> Check:
    """Checks the logged graph's digest against the registered one, and that MLflow and ONNX Runtime load it."""
    if record.graph is None:
        yield "changed", f"model.onnx is lost; {_LOGGED_AGAIN}"
        return
    digest, registered = packaged_digest(record.graph), record.version.digest
    yield agreement(
        digest == registered,
        f"model.onnx has the digest it was registered with, {digest}",
        f"model.onnx was replaced: it has digest {digest}, registered was {registered}; {_LOGGED_AGAIN}",
    )
    other = other_than_graph(record.client, record.location)
    yield agreement(not other, "MLflow loads model.onnx", f"{other}; {_LOGGED_AGAIN}")
    PackagedDetector(record.graph)
    yield "matches", "ONNX Runtime loads model.onnx"


def check_operating_point(record: Record) -> Check:
    """Checks threshold, deferral band and policy in the graph's nodes against every file that states them."""
    if record.graph is None:
        raise NothingToCompareError("the package is lost, and with it its operating point")
    decides, described = _operating_point(onnx.load(record.graph))
    yield _point_agreement(decides, described, "its metadata")
    decides |= {"policy": described["policy"]}
    of_run = record.json(names.OPERATING_FILE)
    of_run = None if of_run is None else {current_in_package(name): value for name, value in of_run.items()}
    if of_run is None:
        yield "unreachable", f"the run has no {names.OPERATING_FILE}"
    else:
        yield _point_agreement(decides, of_run, f"the run's {names.OPERATING_FILE}")
    path = record.layout.packaged(record.version.detector)
    name = path.relative_to(record.layout.workspace).as_posix()
    require_same_dataset(record)
    if not record.has_own_training:
        raise NothingToCompareError(f"{name} belongs to the version from which this one has its network")
    if not path.is_file():
        raise NothingToCompareError(f"{name} is not in the workspace; `dvc checkout` brings it")
    yield _point_agreement(decides, decides | _operating_point(onnx.load(path))[0], f"the workspace's {name}")


def _operating_point(model: onnx.ModelProto) -> tuple[dict[str, Any], dict[str, Any]]:
    """The operating points in the constants of a package's nodes and in its metadata."""
    constants = {
        current_in_package(tensor.name.removeprefix(PREFIX)): tensor
        for tensor in model.graph.initializer
        if tensor.name.startswith(PREFIX)
    }
    decides = {name: float(numpy_helper.to_array(constants[name])) for name in _NUMBERS}
    metadata = next(json.loads(entry.value) for entry in model.metadata_props if entry.key == "medscreen")
    return decides, with_current_metadata(metadata)["operating_point"]


def _point_agreement(decides: Mapping[str, Any], stated: Mapping[str, Any], where: str) -> tuple[Status, str]:
    """Compares a stated operating point with the package's, in float32 like the graph's constants."""
    different = [
        f"{name.replace('_', ' ')} {stated[name]}, the package has {value}"
        for name, value in decides.items()
        if (np.float32(stated[name]) != np.float32(value) if name in _NUMBERS else stated[name] != value)
    ]
    return agreement(
        not different,
        f"the package has threshold {decides['threshold']:.6g}, in agreement with {where}",
        f"{where} has {'; '.join(different)}",
    )


def check_lineage(record: Record) -> Check:
    """Checks the lineage against its digest in the tags of run and version."""
    if record.run is None:
        yield "changed", "its run is lost, and with it lineage and metrics"
        return
    tags = {record.run.data.tags.get(names.LINEAGE), record.version.tags.get(names.LINEAGE)}
    if record.lineage:
        digest, carried = lineage_digest(record.lineage), " and ".join(sorted(map(str, tags)))
        yield agreement(
            tags == {digest},
            f"{names.LINEAGE_FILE} has the digest in the tags of run and version, {digest}",
            f"{names.LINEAGE_FILE} has the digest {digest}, the tags of run and version have {carried}",
        )
        return
    is_lost = record.content(names.LINEAGE_FILE) is None
    if is_lost and tags == {None}:
        raise NothingToCompareError(f"the run has no {names.LINEAGE_FILE}: an earlier version of medscreen made it")
    yield (
        "changed",
        f"{names.LINEAGE_FILE} is {'lost' if is_lost else 'damaged'}, so its data, code and settings are unknown",
    )


def check_tags(record: Record) -> Check:
    """Checks the version's tags of data, training and detector against the lineage."""
    is_baseline = Params.model_validate(record.params).detector(record.lineage["detector"]).is_baseline
    yield _compared("tags of the version", record.version.tags, "its lineage", tags_of(record.lineage, is_baseline))


def check_trained_on(record: Record) -> Check:
    """Checks the list of training images, which the gate uses, against the lineage."""
    images, then = record.trained_on(), record.lineage["training"]["images"]
    if images is None:
        yield "changed", f"{names.TRAINED_ON} is lost, and with it the list of training images"
        return
    digest = digest_of_all(images)
    yield agreement(
        digest == then,
        f"{names.TRAINED_ON} lists the {len(images)} images of its lineage",
        f"{names.TRAINED_ON} lists other images: digest {digest}, the lineage has {then}",
    )


def check_card(record: Record) -> Check:
    """Checks the run's model card, and that the version's description is its beginning."""
    content = record.content("card.md")
    if content is None:
        yield "changed", "card.md is lost; `dvc repro publish` writes it again for a version of the workspace"
        return
    card = content.decode()
    described = record.client.get_model_version(record.version.model, str(record.version.number)).description
    if digest_of(card) != record.version.tags.get(names.CARD):
        yield "changed", "card.md is not the one that medscreen wrote"
    else:
        yield agreement(
            described == version_description(card),
            "card.md and the version's description are as medscreen wrote them",
            "the description of the version is not the beginning of card.md",
        )


def check_logged_params(record: Record) -> Check:
    """Checks the run's parameters in MLflow against the params.yaml of the lineage."""
    if record.run is None:
        return
    detector = record.lineage["detector"]
    expected = logged_params(Params.model_validate(record.params), detector, record.lineage["dataset"])
    _restore_recorded_kinds(expected, record.recorded_params["detectors"][detector], "")
    as_text = {name: str(value) for name, value in expected.items()}
    yield _compared("parameters in MLflow", settings_of(record.run), "its params.yaml", as_text)


def _restore_recorded_kinds(logged: dict[str, Any], entry: Mapping[str, Any], prefix: str) -> None:
    """Replaces the names of kinds by the former ones under which the run of an older version logged them."""
    logged[f"{prefix}kind"] = entry["kind"]
    if "variant" not in entry:
        logged.pop(f"{prefix}variant", None)
    for name, member in entry.get("members", {}).items():
        _restore_recorded_kinds(logged, member, f"{prefix}members.{name}.")


def check_logged_metrics(record: Record) -> Check:
    """Checks the run's metrics in MLflow against evaluation.json, and AUROC on val against the run's scores."""
    if record.run is None:
        return
    logged, val = record.run.data.metrics, record.outcomes("val")
    evaluation = record.json("evaluation.json")
    if evaluation is None:
        why = "" if record.has_own_training else ": `medscreen threshold` computes rates only"
        yield "unreachable", f"the run has no evaluation.json{why}"
    else:
        yield _compared("metrics in MLflow", logged, "evaluation.json", dict(flat_metrics(evaluation)))
    if val is None or "val/auroc" not in logged:
        missing = names.SCORES if val is None else "val/auroc"
        raise NothingToCompareError(f"the run has no {missing}, so AUROC on val can't be computed again")
    computed = rounded(auroc(val, np.ones((1, len(val.labels))))[0])
    yield agreement(
        computed == logged["val/auroc"],
        f"AUROC on val, computed again from {names.SCORES}, is the logged {computed:.6f}",
        f"AUROC on val is {computed:.6f} by {names.SCORES}, {logged['val/auroc']:.6f} in MLflow",
    )


def _compared(what: str, found: Mapping[str, Any], source: str, expected: Mapping[str, Any]) -> tuple[Status, str]:
    """Compares each expected value with the one found under its name; other values are ignored."""
    different = [
        f"{name} is {found.get(name, 'missing')}, {source} has {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    return agreement(not different, f"{len(expected)} {what} are those of {source}", f"{what}: {listed(different)}")


def check_decision(record: Record) -> Check:
    """Checks that the decision log put the version into its stage."""
    version = record.version
    if version.stage == "None":
        yield "matches", "it is in no stage, so no decision is needed"
        return
    moves = DecisionLog(record.client, record.layout, version.model).moves()
    if version.stage == "Archived":
        put = next((move for move in moves if version.number in (move.replaced, move.version)), None)
    else:
        last = next((move for move in moves if move.stage == version.stage), None)
        put = last if last and last.version == version.number else None
    if put is None:
        yield "changed", f"it is in {version.stage}, and no decision in the log put it there"
    else:
        yield "matches", f"decision {put.number} of {put.at[:10]} by {put.by} put it into {version.stage}"
