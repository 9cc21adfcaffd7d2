"""The model card as Markdown; its words are in model_card.md.j2."""

import re

from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.model_card.known_failures import known_failures
from medscreen.reporting.pages.markdown import render

_REST = "The rest of the card is in card.md of the run."


def model_card(facts: CardFacts) -> str:
    """The card of a version; what was not measured is left out."""
    return render("model_card/model_card.md.j2", facts=facts, failures=known_failures(facts))


def version_description(card: str, limit: int = 5000) -> str:
    """As many whole sections of a card as fit `limit` characters, the first ones first; then where the rest is.

    5000 is what MLflow keeps of a description on PostgreSQL. Where not even the first section fits, only where the
    card is; raises ValueError where `limit` has no room for that sentence.
    """
    if len(card) <= limit:
        return card
    if limit < len(_REST):
        raise ValueError(f"a limit of {limit} characters leaves no room for '{_REST}'")
    kept = ""
    for part in re.split(r"^(?=## )", card, flags=re.MULTILINE):
        if len(kept) + len(part) + len(_REST) > limit:
            break
        kept += part
    return kept + _REST
