"""Model card as Markdown; model_card.md.j2 holds its text."""

import re

from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.model_card.known_failures import known_failures
from medscreen.reporting.pages.markdown import render

_REST = "The rest of the card is in card.md of the run."


def model_card(facts: CardFacts) -> str:
    """Returns the card of a version, without sections for missing results."""
    return render("model_card/model_card.md.j2", facts=facts, failures=known_failures(facts))


def version_description(card: str, limit: int = 5000) -> str:
    """The first whole sections of a card that fit in `limit` characters, followed by the location of the rest.

    5000 is MLflow's limit for descriptions on PostgreSQL. If not even the first section fits, returns only the
    location; raises ValueError if `limit` is too small for that sentence.
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
