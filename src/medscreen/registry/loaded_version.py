"""A registered version loaded for reports and the service."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medscreen.data.display import Grey
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes
from medscreen.explain.similar_cases import NO_EMBEDDING, Case, CaseIndex, Embedder, read_cases
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.explained import Explained, load_explained
from medscreen.registry.loading import whole_graph
from medscreen.registry.run_record import Record
from medscreen.reporting.case_report import ReportedVersion
from medscreen.tracking import names


class LoadedVersion:
    """A version's detector with its map, similar cases and scores of val, each loaded on first use."""

    def __init__(self, record: Record) -> None:
        version = record.version
        self.record = record
        self.title = f"{version} ({version.detector})"
        self._graph = whole_graph(record)
        self.detector = PackagedDetector(self._graph)

    @cached_property
    def reported(self) -> ReportedVersion:
        """The version's identification in reports."""
        of = self.record.version
        commit = self.record.lineage.get("source", {}).get("commit") or ""
        point = self.detector.metadata["operating_point"]
        return ReportedVersion(of.model, of.number, of.stage, of.detector, of.digest, commit, point)

    @cached_property
    def explained(self) -> Explained:
        """The version's map, or the reason why none is shown, such as a lost or damaged file."""
        try:
            return load_explained(self.record, self.detector)
        except MedscreenError as error:
            return Explained(self.record.version, self.detector, None, str(error).rstrip("."))

    @cached_property
    def cases(self) -> CaseIndex | None:
        """Index of the training images, None without one; raises MedscreenError if it is damaged."""
        content = self.record.content(names.SIMILAR_CASES)
        return None if content is None else read_cases(content)

    @cached_property
    def no_cases(self) -> str:
        """Reason why there are no similar cases, else ""."""
        try:
            return "" if self.cases else f"{NO_EMBEDDING}, or its run has lost the index"
        except MedscreenError as error:
            return str(error).rstrip(".")

    @cached_property
    def embedder(self) -> Embedder:
        """Computes the embeddings by which cases are compared."""
        return Embedder(self._graph)

    def similar_to(self, square: Grey, number: int) -> list[Case]:
        """The `number` nearest training images of each class, healthy ones first; empty without an index."""
        if self.no_cases or self.cases is None:
            return []
        (embedding,) = self.embedder.embed(square[None])
        return [case for label in (0, 1) for case in self.cases.nearest(embedding, label, number)]

    @cached_property
    def val(self) -> Outcomes | None:
        """The outcomes on val, None without scores; raises MedscreenError if they are damaged."""
        val = self.record.outcomes("val")
        return None if val is None else val.at(self.detector.metadata["operating_point"]["threshold"])

    @cached_property
    def no_scores(self) -> str:
        """Reason why there are no scores of val, else ""."""
        try:
            return "" if self.val else f"The run of {self.title} has no {names.SCORES}."
        except MedscreenError as error:
            return str(error)

    @cached_property
    def healthy_scores(self) -> NDArray[np.float64]:
        """Scores of the healthy images of val, ascending; empty if lost or damaged."""
        return np.array([]) if self.no_scores or not self.val else np.sort(self.val.scores[self.val.labels == 0])
