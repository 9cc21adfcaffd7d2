"""The facts of a model card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medscreen.evaluation.sample_size import TOO_FEW, is_too_few
from medscreen.reporting.pages.markdown import figure, interval


@dataclass(frozen=True)
class CardFacts:
    """A version and all that was reported of it; a block that is empty leaves its section out.

    `version` is None where none is registered. `made`: ISO date. `evaluation`, `analysis`, `explanations` and
    `curation` are what the JSON files of these names hold, `operating_point` what operating.json holds. `parameters`
    are flat, named as in MLflow; the level of the intervals is read from `evaluation.confidence`, if there. `lineage`:
    label -> value. `decision`: one sentence of the gate, or "".
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
        """A metric of a split, or of a `block` within it; None where it was not measured or is not defined."""
        measured = self.evaluation.get(split, {})
        if block is not None:
            measured = measured.get(block, {})
        found: Mapping[str, Any] = measured.get(metric, {})
        return found if found.get("value") is not None else None

    def cell(self, split: str, metric: str, block: str | None = None) -> str:
        """The same as the table of metrics shows it, and of `ece_by_chance`."""
        if metric == "ece_by_chance":
            return figure(self.analysis.get(metric, {}).get(split))
        estimate = self.estimate(split, metric, block)
        if metric != "ece":
            return figure(estimate)
        # it never has an interval of its own; AUROC rests on the same patients
        return TOO_FEW if is_too_few(self.estimate(split, "auroc")) else interval(estimate)

    @property
    def has_no_patients(self) -> bool:
        """True if the source names no patient, so that each image counts as one."""
        splits = self.curation.get("splits", {}).values()
        return bool(splits) and all(split.get("patients") == split.get("images") for split in splits)
