"""Model card and decision of a version: files of its run, summarized in its description and tags."""

import json
from collections.abc import Mapping
from typing import Any

import yaml
from mlflow import MlflowClient

from medscreen.config.datasets import PhantomParams
from medscreen.config.former_names import current_param
from medscreen.config.params import Params
from medscreen.registry.versions import Version
from medscreen.reporting.model_card.card import model_card, version_description
from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.pages.html_page import page
from medscreen.tracking import names
from medscreen.tracking.detector_results import Result
from medscreen.tracking.run_state import kept_json, kept_names
from medscreen.workspace.digests import digest_of

# files of the old version's run from which the card of a new operating point is made
_SOURCES = (names.LINEAGE_FILE, "curation.json", "evaluation.json")


def describe(
    client: MlflowClient, version: Version, result: Result, params: Params, standing: Mapping[str, Any]
) -> None:
    """Writes card and decision of a version of the workspace unless they are up to date.

    A version that is or was in a stage keeps the decision that moved it.
    """
    decision = version.tags.get(names.DECISION, "")
    if version.stage == "None" and not version.rolled_back:
        decision = f"{standing['verdict']}: {standing['reason']}"
    card = _card(
        version,
        # from the run: the workspace may be at another commit by now
        lineage=_lineage(version, kept_json(client, version.run_id, names.LINEAGE_FILE) or result.lineage),
        dataset=result.dataset,
        evaluation=result.evaluation,
        analysis=result.analysis,
        explanations=result.explanations,
        curation=result.curation,
        operating_point=result.operating_point,
        parameters=result.params | {"evaluation.confidence": params.evaluation.confidence},
        decision=decision,
        is_simulated=isinstance(params.datasets[result.dataset], PhantomParams),
    )
    is_whole = kept_names(client, version.run_id) >= {"card.md", "card.html", "decision.json"}
    if is_whole and version.tags.get(names.CARD) == digest_of(card):
        return
    client.log_text(version.run_id, json.dumps(dict(standing), indent=1), "decision.json")
    if version.tags.get(names.DECISION) != decision:
        client.set_model_version_tag(version.model, str(version.number), names.DECISION, decision)
    _keep(client, version, card)


def describe_operating_point(
    client: MlflowClient, version: Version, source: Version, point: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """Writes evaluation and card of a version that has the network of `source` and another operating point."""
    lineage, curation, explanations = (
        kept_json(client, source.run_id, name) for name in (names.LINEAGE_FILE, "curation.json", "explanations.json")
    )
    client.log_text(version.run_id, json.dumps(evaluation, indent=1), "evaluation.json")
    client.log_text(version.run_id, json.dumps(curation, indent=1), "curation.json")
    if explanations:  # older versions have none
        client.log_text(version.run_id, json.dumps(explanations, indent=1), "explanations.json")
    dataset = lineage["dataset"]
    card = _card(
        version,
        lineage={"operating point of": f"version {source.number}", **_lineage(version, lineage)},
        dataset=dataset,
        evaluation=evaluation,
        analysis={},
        explanations=explanations,
        curation={current_param(name): value for name, value in (curation or {}).items()},
        operating_point=point,
        parameters=client.get_run(version.run_id).data.params,
        decision="",
        is_simulated=yaml.safe_load(lineage["params.yaml"])["datasets"][dataset]["kind"] == "phantom",
    )
    _keep(client, version, card)


def lost_sources(client: MlflowClient, version: Version) -> list[str]:
    """Files for the card of a new operating point that are missing or damaged in the version's run."""
    return [name for name in _SOURCES if not kept_json(client, version.run_id, name)]


def _card(version: Version, **facts: Any) -> str:
    made = f"{version.made:%Y-%m-%d}"
    return model_card(
        CardFacts(model=version.model, version=version.number, detector=version.detector, made=made, **facts)
    )


def _keep(client: MlflowClient, version: Version, card: str) -> None:
    client.log_text(version.run_id, card, "card.md")
    client.log_text(version.run_id, page(card, str(version)), "card.html")
    client.update_model_version(version.model, str(version.number), version_description(card))
    # last: without this tag an incomplete card is written again
    client.set_model_version_tag(version.model, str(version.number), names.CARD, digest_of(card))


def _lineage(version: Version, lineage: Mapping[str, Any]) -> dict[str, str]:
    source = lineage["source"]
    return {
        "run": version.run_id,
        "package digest": version.digest,
        "training key": version.run_key,
        "source data digest": lineage["data"]["digest"],
        **{f"digest of {split}": digest for split, digest in lineage["data"]["splits"].items()},
        "code commit": source["commit"] or "no git repository",
        "uncommitted changes": ", ".join(source["uncommitted"]) or "none",
        "study and trial": str(lineage["trial"] or "none: the parameters were set by hand"),
        "Python": f"{lineage['environment']['python']}, {lineage['environment']['system']}",
    }
