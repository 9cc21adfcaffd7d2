"""What run and version keep of a detector: whether it agrees with itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from medscreen.config.params import Params
from medscreen.evaluation.bootstrap import rounded
from medscreen.evaluation.metrics import auroc
from medscreen.evaluation.outcomes import outcomes_of
from medscreen.registry.cards import CARD, card_digest
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import RECORD, Finding, changed, listed, matches, unreachable
from medscreen.registry.versions import tags_of
from medscreen.reporting.model_card.summary import version_description
from medscreen.tracking.detector_results import logged_params
from medscreen.tracking.runs import LINEAGE, LINEAGE_FILE, SCORES, TRAINED_ON, flat_metrics
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import digest_of_all, lineage_digest


def check_lineage(record: Record) -> Iterator[Finding]:
    """The lineage against the digests that run and version carry."""
    if record.run is None:
        yield changed(RECORD, "its run is lost, and with it what the version was made from and how it did")
        return
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


def check_tags(record: Record) -> Iterator[Finding]:
    """What the version's tags say of its making against the lineage."""
    if record.lineage is None:
        return
    is_baseline = Params.model_validate(record.params).detector(record.lineage["detector"]).is_baseline
    yield _agreement("tags of the version", record.version.tags, "its lineage", tags_of(record.lineage, is_baseline))


def check_trained_on(record: Record) -> Iterator[Finding]:
    """The list of the images it was trained on, which the gate asks, against the lineage."""
    if record.lineage is None:
        return
    listed_images = record.trained_on()
    if listed_images is None:
        yield changed(RECORD, f"{TRAINED_ON} is lost: nobody can say which images it was trained on")
    elif (digest := digest_of_all(listed_images)) == record.lineage["training"]["images"]:
        yield matches(RECORD, f"{TRAINED_ON} lists the {len(listed_images)} images of its lineage")
    else:
        then = record.lineage["training"]["images"]
        yield changed(RECORD, f"{TRAINED_ON} lists other images: digest {digest}, the lineage has {then}")


def check_card(record: Record) -> Iterator[Finding]:
    """The model card of the run, and the version's description, which is its beginning."""
    content = record.content("card.md")
    if content is None:
        yield changed(RECORD, "card.md is lost; `dvc repro publish` writes it again for a version of the workspace")
        return
    card = content.decode()
    described = record.client.get_model_version(record.version.model, str(record.version.number)).description
    if card_digest(card) != record.version.tags.get(CARD):
        yield changed(RECORD, "card.md is not the one that medscreen wrote")
    elif described != version_description(card):
        yield changed(RECORD, "the description of the version is not the beginning of card.md")
    else:
        yield matches(RECORD, "card.md and the version's description are as medscreen wrote them")


def check_logged_params(record: Record) -> Iterator[Finding]:
    """The run's parameters in MLflow against the params.yaml of the lineage."""
    if record.lineage is None or record.run is None:
        return
    params = Params.model_validate(record.params)
    expected = logged_params(params, record.lineage["detector"], record.lineage["dataset"])
    as_text = {name: str(value) for name, value in expected.items()}
    yield _agreement("parameters in MLflow", record.run.data.params, "its params.yaml", as_text)


def check_logged_metrics(record: Record) -> Iterator[Finding]:
    """The run's metrics in MLflow against its evaluation.json, and AUROC on val against its scores."""
    if record.run is None:
        return
    logged = record.run.data.metrics
    evaluation = record.json("evaluation.json")
    if evaluation is None:
        says = "the run keeps no evaluation.json"
        if not record.has_own_training:
            says += ": `medscreen threshold` computes rates alone"
        yield unreachable(RECORD, says)
    else:
        yield _agreement("metrics in MLflow", logged, "evaluation.json", dict(flat_metrics(evaluation)))
    yield _recomputed_auroc(record, logged)


def _agreement(what: str, found: Mapping[str, Any], source: str, expected: Mapping[str, Any]) -> Finding:
    """Whether each expected value is found under its name; what is found besides says nothing."""
    different = [
        f"{name} is {found.get(name, 'not there')}, {source} has {value}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if different:
        return changed(RECORD, f"{what}: {listed(different)}")
    return matches(RECORD, f"{len(expected)} {what} are those of {source}")


def _recomputed_auroc(record: Record, logged: Mapping[str, float]) -> Finding:
    scores = record.scores_of("val")
    if scores is None or "val/auroc" not in logged:
        missing = SCORES if scores is None else "val/auroc"
        return unreachable(RECORD, f"the run keeps no {missing}, so AUROC on val can't be computed again")
    labels = scores["label"].to_numpy().astype(np.int64)
    values = scores["score"].to_numpy().astype(np.float64)
    outcomes = outcomes_of(labels=labels, scores=values, patients=scores["patient"].to_numpy())
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
