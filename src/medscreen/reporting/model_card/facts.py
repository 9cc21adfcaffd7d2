"""What a card is written from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medscreen.evaluation.sample_size import FEWEST, TOO_FEW, is_too_few
from medscreen.reporting.pages.markdown import interval


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


def figure(estimate: Mapping[str, Any] | None) -> str:
    """A value with its interval in brackets; words where too few patients support it, "-" where there is none."""
    return TOO_FEW if is_too_few(estimate) else interval(estimate)


def few_patients(rows: Iterable[Sequence[str]]) -> str:
    """What the words in a table's cells mean; "" where no cell has them."""
    means = f'"{TOO_FEW.capitalize()}": the figure rests on fewer than {FEWEST} patients of a class.'
    return means if any(TOO_FEW in row for row in rows) else ""
