"""A registered version with what its run keeps for reports and for the service."""

from functools import cached_property

from medscreen.data.display import Grey
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes
from medscreen.explain.similar_cases import NO_EMBEDDING, Case, CaseIndex, Embedder, read_cases
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.explained import Explained, load_explained
from medscreen.registry.loading import whole_graph
from medscreen.registry.run_record import Record
from medscreen.tracking import names


class LoadedVersion:
    """A version's detector, and its map, similar cases and scores of val, each read when it is first used."""

    def __init__(self, record: Record) -> None:
        version = record.version
        self.record = record
        self.title = f"{version.model} version {version.number} ({version.detector})"
        self._graph = whole_graph(record)
        self.detector = PackagedDetector(self._graph)

    @cached_property
    def explained(self) -> Explained:
        """The version's map, or the reason why none is shown."""
        return load_explained(self.record, self.detector)

    @cached_property
    def cases(self) -> CaseIndex | None:
        """Index of the training images, None where the run keeps none."""
        content = self.record.content(names.SIMILAR_CASES)
        return None if content is None else read_cases(content)

    @property
    def no_cases(self) -> str:
        """Reason why there are no similar cases, "" where there are."""
        return "" if self.cases else f"{NO_EMBEDDING}, or an older medscreen registered it"

    @cached_property
    def embedder(self) -> Embedder:
        """Computes the features by which cases are compared."""
        return Embedder(self._graph)

    def similar_to(self, square: Grey, number: int) -> list[Case]:
        """The nearest training images of each class, the healthy ones first; none without an index."""
        if self.cases is None:
            return []
        (embedding,) = self.embedder.embed(square[None])
        return [case for label in (0, 1) for case in self.cases.nearest(embedding, label, number)]

    def outcomes_of_val(self) -> Outcomes:
        """The outcomes on val; raises MedscreenError where the run keeps no scores."""
        val = self.record.outcomes("val")
        if val is None:
            raise MedscreenError(
                f"The run of {self.title} keeps no scores of val to compare with; `dvc repro publish` logs them where "
                "the version is the workspace's own."
            )
        return val.at(self.detector.metadata["operating_point"]["threshold"])
