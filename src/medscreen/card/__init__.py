"""The card of a registered version: what it is for, how good it is, where it fails, what it was made from."""

from medscreen.card.content import model_card
from medscreen.card.facts import CardFacts
from medscreen.card.summary import version_description

__all__ = ["CardFacts", "model_card", "version_description"]
