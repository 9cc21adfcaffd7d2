"""The record of a version in its run and its tags: whether it agrees with itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medscreen.config.params import Params
from medscreen.evaluation.bootstrap import rounded
from medscreen.evaluation.metrics import auroc
from medscreen.evaluation.outcomes import outcomes_of
from medscreen.registry.cards import CARD
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.registration import tags_of
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import Check, Status, agreement, listed
from medscreen.reporting.model_card.card import version_description
from medscreen.tracking.detector_results import logged_params
from medscreen.tracking.runs import LINEAGE, LINEAGE_FILE, SCORES, TRAINED_ON, flat_metrics
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import digest_of_all, lineage_digest


def check_lineage(record: Record) -> Check:
    """The lineage against the digests that run and version carry."""
    if record.run is None:
        yield "changed", "its run is lost, and with it what the version was made from and how it did"
        return
    tags = {record.run.data.tags.get(LINEAGE), record.version.tags.get(LINEAGE)}
    if record.lineage is not None:
        digest, carried = lineage_digest(record.lineage), " and ".join(sorted(map(str, tags)))
        yield agreement(
            tags == {digest},
            f"{LINEAGE_FILE} has the digest that run and version carry, {digest}",
            f"{LINEAGE_FILE} has the digest {digest}, run and version carry {carried}",
        )
    elif record.content(LINEAGE_FILE) is None and tags == {None}:
        yield "unreachable", f"the run keeps no {LINEAGE_FILE}: it is of a time before there was one"
    else:
        is_lost = record.content(LINEAGE_FILE) is None
        what = "lost" if is_lost else "damaged"
        yield "changed", f"{LINEAGE_FILE} is {what}, and with it what the version was made from"


def check_tags(record: Record) -> Check:
    """The version's tags on its making against the lineage."""
    if record.lineage is not None:
        is_baseline = Params.model_validate(record.params).detector(record.lineage["detector"]).is_baseline
        expected = tags_of(record.lineage, is_baseline)
        yield _compared("tags of the version", record.version.tags, "its lineage", expected)


def check_trained_on(record: Record) -> Check:
    """The list of the images it was trained on, which the gate uses, against the lineage."""
    if record.lineage is None:
        return
    images, then = record.trained_on(), record.lineage["training"]["images"]
    if images is None:
        yield "changed", f"{TRAINED_ON} is lost, and with it which images it was trained on"
        return
    digest = digest_of_all(images)
    yield agreement(
        digest == then,
        f"{TRAINED_ON} lists the {len(images)} images of its lineage",
        f"{TRAINED_ON} lists other images: digest {digest}, the lineage has {then}",
    )


def check_card(record: Record) -> Check:
    """The model card of the run, and the version's description, which is its beginning."""
    content = record.content("card.md")
    if content is None:
        yield "changed", "card.md is lost; `dvc repro publish` writes it again for a version of the workspace"
        return
    card = content.decode()
    described = record.client.get_model_version(record.version.model, str(record.version.number)).description
    if digest_of(card) != record.version.tags.get(CARD):
        yield "changed", "card.md is not the one that medscreen wrote"
    else:
        yield agreement(
            described == version_description(card),
            "card.md and the version's description are as medscreen wrote them",
            "the description of the version is not the beginning of card.md",
        )


def check_logged_params(record: Record) -> Check:
    """The run's parameters in MLflow against the params.yaml of the lineage."""
    if record.lineage is None or record.run is None:
        return
    detector = record.lineage["detector"]
    expected = logged_params(Params.model_validate(record.params), detector, record.lineage["dataset"])
    _restore_recorded_kinds(expected, record.recorded_params["detectors"][detector], "")
    as_text = {name: str(value) for name, value in expected.items()}
    yield _compared("parameters in MLflow", record.run.data.params, "its params.yaml", as_text)


def _restore_recorded_kinds(logged: dict[str, Any], entry: Mapping[str, Any], prefix: str) -> None:
    """Puts back the former names of kinds, under which the run of an older version has logged its entry."""
    logged[f"{prefix}kind"] = entry["kind"]
    if "variant" not in entry:
        logged.pop(f"{prefix}variant", None)
    for name, member in entry.get("members", {}).items():
        _restore_recorded_kinds(logged, member, f"{prefix}members.{name}.")


def check_logged_metrics(record: Record) -> Check:
    """The run's metrics in MLflow against its evaluation.json, and AUROC on val against its scores."""
    if record.run is None:
        return
    logged = record.run.data.metrics
    evaluation = record.json("evaluation.json")
    if evaluation is None:
        why = "" if record.has_own_training else ": `medscreen threshold` computes rates alone"
        yield "unreachable", f"the run keeps no evaluation.json{why}"
    else:
        yield _compared("metrics in MLflow", logged, "evaluation.json", dict(flat_metrics(evaluation)))
    yield _recomputed_auroc(record, logged)


def _compared(what: str, found: Mapping[str, Any], source: str, expected: Mapping[str, Any]) -> tuple[Status, str]:
    """Whether each expected value is found under its name; others are ignored."""
    different = [
        f"{name} is {found.get(name, 'not there')}, {source} has {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    return agreement(not different, f"{len(expected)} {what} are those of {source}", f"{what}: {listed(different)}")


def _recomputed_auroc(record: Record, logged: Mapping[str, float]) -> tuple[Status, str]:
    scores = record.scores_of("val")
    if scores is None or "val/auroc" not in logged:
        missing = SCORES if scores is None else "val/auroc"
        return "unreachable", f"the run keeps no {missing}, so AUROC on val can't be computed again"
    labels = scores["label"].to_numpy().astype(np.int64)
    values = scores["score"].to_numpy().astype(np.float64)
    outcomes = outcomes_of(labels=labels, scores=values, patients=scores["patient"].to_numpy())
    computed = rounded(auroc(outcomes, np.ones((1, len(labels))))[0])
    return agreement(
        computed == logged["val/auroc"],
        f"AUROC on val, computed again from {SCORES}, is the logged {computed:.6f}",
        f"AUROC on val is {computed:.6f} by {SCORES}, {logged['val/auroc']:.6f} in MLflow",
    )


def check_decision(record: Record, layout: Layout) -> Check:
    """Whether a decision put the version into its stage."""
    version = record.version
    if version.stage == "None":
        yield "matches", "it has no stage, which takes no decision"
        return
    moves = DecisionLog(record.client, layout, version.model).moves()
    if version.stage == "Archived":
        put = next((move for move in moves if version.number in (move.replaced, move.version)), None)
    else:
        put = next((move for move in moves if move.stage == version.stage), None)
    if put is None or (version.stage != "Archived" and put.version != version.number):
        yield "changed", f"it is in {version.stage}, and no decision in the log put it there"
    else:
        yield "matches", f"decision {put.number} of {put.at[:10]} by {put.by} put it into {version.stage}"
