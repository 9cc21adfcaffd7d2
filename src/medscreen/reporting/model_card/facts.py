"""Values for the model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medscreen.evaluation.sample_size import TOO_FEW, is_too_few
from medscreen.reporting.pages.markdown import figure, interval


@dataclass(frozen=True)
class CardFacts:
    """A version with its reported results; the card omits sections of empty blocks.

    `version` is None if not registered. `made`: ISO date. `evaluation`, `analysis`, `explanations` and `curation`:
    contents of the JSON files of these names; `operating_point`: content of operating.json. `parameters`: flat, named
    as in MLflow; `evaluation.confidence` gives the level of the intervals. `lineage`: label -> value. `decision`: one
    sentence of the gate, or "".
    """

    model: str
    version: int | None
    detector: str
    dataset: str
    made: str
    evaluation: Mapping[str, Any]
    analysis: Mapping[str, Any]
    explanations: Mapping[str, Any]
    curation: Mapping[str, Any]
    operating_point: Mapping[str, Any]
    parameters: Mapping[str, Any]
    lineage: Mapping[str, str]
    decision: str
    is_simulated: bool

    def estimate(self, split: str, metric: str, block: str | None = None) -> Mapping[str, Any] | None:
        """A metric of a split, or of a `block` within it; None if not measured or undefined."""
        measured = self.evaluation.get(split, {})
        if block is not None:
            measured = measured.get(block, {})
        found: Mapping[str, Any] = measured.get(metric, {})
        return found if found.get("value") is not None else None

    def cell(self, split: str, metric: str, block: str | None = None) -> str:
        """Formats a metric, or `ece_by_chance`, for a table cell."""
        if metric == "ece_by_chance":
            return figure(self.analysis.get(metric, {}).get(split))
        estimate = self.estimate(split, metric, block)
        if metric != "ece":
            return figure(estimate)
        # ECE has no interval: that of AUROC shows whether the patients are too few
        return TOO_FEW if is_too_few(self.estimate(split, "auroc")) else interval(estimate)

    @property
    def has_no_patients(self) -> bool:
        """True if each image counts as a patient, as in sources without patient identifiers."""
        splits = self.curation.get("splits", {}).values()
        return bool(splits) and all(split.get("patients") == split.get("images") for split in splits)
