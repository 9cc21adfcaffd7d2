"""What a card is written from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CardFacts:
    """A version and all that was reported of it; a block that is empty leaves its section out.

    `version` is None where none is registered. `made`: ISO date. `evaluation`, `analysis`, `curation` and
    `operating_point` are what evaluation.json, analysis.json, curation.json and operating.json hold. `parameters` are
    flat, named as in MLflow; the level of the intervals is read from `evaluation.confidence`, if there. `lineage`:
    label -> value. `decision`: one sentence of the gate, or "".
    """

    model: str
    version: int | None
    detector: str
    dataset: str
    made: str
    evaluation: Mapping[str, Any]
    analysis: Mapping[str, Any]
    curation: Mapping[str, Any]
    operating_point: Mapping[str, Any]
    parameters: Mapping[str, Any]
    lineage: Mapping[str, str]
    decision: str
    is_simulated: bool

    @property
    def images(self) -> str:
        """What the data set holds: simulated images are never called just images."""
        return "simulated images" if self.is_simulated else "images"

    @property
    def aside(self) -> str:
        """The same in brackets, to stand behind the name of a split; "" where the images are real."""
        return " (simulated images)" if self.is_simulated else ""

    def estimate(self, split: str, metric: str, block: str | None = None) -> Mapping[str, Any] | None:
        """A metric of a split, or of a `block` within it; None where it was not measured or is not defined."""
        measured = self.evaluation.get(split, {})
        if block is not None:
            measured = measured.get(block, {})
        found: Mapping[str, Any] = measured.get(metric, {})
        return found if found.get("value") is not None else None
