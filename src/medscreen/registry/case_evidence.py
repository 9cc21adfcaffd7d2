"""What a registered version states about single images, from its package and the files of its run."""

from functools import cached_property

from medscreen.data.display import Grey
from medscreen.data.images import load_images
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes
from medscreen.explain.packaged_map import is_constant
from medscreen.explain.similar_cases import NO_EMBEDDING, Case, Embedder, read_cases
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.explained import Explained, load_explained
from medscreen.registry.loading import whole_graph
from medscreen.registry.run_record import Record
from medscreen.reporting.case_report import ReportedCase, ReportedVersion, SimilarCase
from medscreen.reporting.evaluation_report.explanation_figures import CONSTANT
from medscreen.tracking import names

_CASES = 3  # similar ones of each class


class CaseEvidence:
    """A version's detector, map, similar training images and outcomes of val.

    `no_cases`: why it has no index of similar cases, "" where it has one.
    """

    def __init__(self, record: Record) -> None:
        """Raises MedscreenError where the package is lost or the index is damaged."""
        version, self._record, self._graph = record.version, record, whole_graph(record)
        self.title = f"{version.model} version {version.number} ({version.detector})"
        self.detector = PackagedDetector(self._graph)
        content = record.content(names.SIMILAR_CASES)
        self._index = None if content is None else read_cases(content)
        self.no_cases = "" if self._index else f"{NO_EMBEDDING}, or an older medscreen registered it"
        self.about = ReportedVersion(
            model=version.model,
            number=version.number,
            stage=version.stage,
            detector=version.detector,
            digest=version.digest,
            commit=record.lineage.get("source", {}).get("commit") or "",
            point=self.detector.metadata["operating_point"],
        )

    def similar_to(self, square: Grey, number: int) -> list[Case]:
        """Similar cases of both classes, the healthy ones first; none without an index."""
        if self._index is None:
            return []
        (embedding,) = self._embedder.embed(square[None])
        return [case for label in (0, 1) for case in self._index.nearest(embedding, label, number)]

    def case(self, name: str, grey: Grey, square: Grey, left_out: int) -> ReportedCase:
        """An image as displayed and as the (S, S) that is screened, with its screening, map and similar cases.

        `left_out`: how many more images its file holds that are not reported.
        """
        explained = self._explained
        found = None if explained.map is None else explained.map.maps(square[None])[0]
        no_map = f"{explained.reason}." if explained.map is None else ""
        if found is not None and is_constant(found[None])[0]:
            found, no_map = None, CONSTANT
        return ReportedCase(
            name=name,
            grey=grey,
            square=square,
            left_out=left_out,
            screening=self.detector.screen(square[None]),
            map=found,
            unit=explained.unit,
            caveat=explained.reason if found is not None else "",
            no_map=no_map,
            similar=[SimilarCase(case, self._local.get(case.image)) for case in self.similar_to(square, _CASES)],
            no_cases=self.no_cases,
        )

    def outcomes_of_val(self) -> Outcomes:
        """The outcomes on val; raises MedscreenError where the run keeps no scores."""
        val = self._record.outcomes("val")
        if val is None:
            raise MedscreenError(
                f"The run of {self.title} keeps no scores of val to compare with; `dvc repro publish` logs them where "
                "the version is the workspace's own."
            )
        return val.at(self.about.point["threshold"])

    @cached_property
    def _embedder(self) -> Embedder:
        return Embedder(self._graph)

    @cached_property
    def _explained(self) -> Explained:
        return load_explained(self._record, self.detector)

    @cached_property
    def _local(self) -> dict[str, Grey]:
        """Digest -> pixels of the curated training images of the checkout; empty without any."""
        try:
            train = load_images(self._record.layout.curated("train"))
        except MedscreenError:  # there are none
            return {}
        return dict(zip(train.digests, train.pixels, strict=True))
