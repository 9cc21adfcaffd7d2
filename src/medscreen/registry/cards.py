"""A version's model card and decision: kept with its run, and shown as its description and tags."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient

from medscreen.card import CardFacts, card_page, model_card, version_description
from medscreen.params import Params, PhantomParams
from medscreen.registry.versions import DECISION, Version
from medscreen.tracking import Result

_CARD = "medscreen.card_digest"


def describe(
    client: MlflowClient, version: Version, result: Result, params: Params, standing: Mapping[str, Any]
) -> None:
    """Writes card and decision of a version of the workspace, unless they say so already."""
    decision = f"{standing['verdict']}: {standing['reason']}"
    card = model_card(
        CardFacts(
            model=version.model,
            version=version.number,
            detector=version.detector,
            dataset=result.dataset,
            made=f"{version.made:%Y-%m-%d}",
            evaluation=result.evaluation,
            analysis=result.analysis,
            curation=result.curation,
            operating_point=result.operating_point,
            parameters=result.params | {"evaluation.confidence": params.evaluation.confidence},
            lineage=_lineage(version, result.lineage),
            decision=decision,
            is_simulated=isinstance(params.datasets[result.dataset], PhantomParams),
        )
    )
    digest = hashlib.blake2b(card.encode(), digest_size=16).hexdigest()
    if version.tags.get(_CARD) == digest:
        return
    client.log_text(version.run_id, json.dumps(dict(standing), indent=1), "decision.json")
    client.log_text(version.run_id, card, "card.md")
    client.log_text(version.run_id, card_page(card, f"{version.model} version {version.number}"), "card.html")
    client.update_model_version(version.model, str(version.number), version_description(card))
    client.set_model_version_tag(version.model, str(version.number), DECISION, decision)
    # last: a card that was cut short is written again
    client.set_model_version_tag(version.model, str(version.number), _CARD, digest)


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
