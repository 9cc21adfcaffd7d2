"""What the gate looks at: candidates and champion, each on the same images of `val`."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, curated_images, set_digest
from medscreen.errors import MedscreenError
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.decision_log import Entry
from medscreen.registry.gate import Candidate, Champion, Contestant, LostChampion
from medscreen.registry.versions import Version, checked_graph, unusable
from medscreen.tracking.detector_results import Result
from medscreen.tracking.logged_models import FaultyModelError
from medscreen.tracking.run_state import kept_file
from medscreen.tracking.runs import TRAINED_ON
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout


class LostVersionError(MedscreenError):
    """A registered version that can't be scored again, or of which nobody knows what it was trained on.

    `reason` says why, as half a sentence.
    """

    def __init__(self, version: Version, reason: str) -> None:
        super().__init__(str(unusable(version, "scored again", reason)))
        self.reason = reason


@dataclass(frozen=True)
class Evidence:
    """The workspace's `val` and roster, and how registered versions do on it."""

    client: MlflowClient
    layout: Layout
    results: Sequence[Result]

    @cached_property
    def val(self) -> ImageSet:
        """The images that everything is compared on."""
        return curated_images(self.layout, "val")

    def of_roster(
        self, result: Result, version: Version | None, champion: Version | None, chosen: tuple[Entry, int] | None
    ) -> Candidate:
        """A detector of the workspace; it has seen nothing of `val`, or the audit counts it as a leak.

        `version` is None where it has none. `chosen` is the move that put the champion there, and its time, if a person
        made it.
        """
        val = result.outcomes("val")
        return Candidate(
            detector=result.detector,
            digest=result.digest,
            run_key=result.run_key,
            val=val,
            unseen=np.ones(len(val.labels), np.bool_),
            is_baseline=result.is_baseline,
            baselines=self._baselines,
            leaked_images=self._leaked_images,
            rivals=self._rivals(champion),
            rolled_back=version.rolled_back if version else "",
            passed_over=_passed_over(version, champion, chosen) if version else "",
        )

    def of_version(self, version: Version, champion: Version | None) -> Candidate:
        """A registered version, scored again from its package; raises LostVersionError where that can't be done."""
        known = self.contestant(version)
        return Candidate(
            **vars(known),
            is_baseline=version.is_baseline,
            baselines=self._baselines,
            leaked_images=self._leaked_images,
            rivals=self._rivals(champion),
            rolled_back=version.rolled_back,
        )

    def _rivals(self, champion: Version | None) -> int:
        """How many detectors of the roster are tried against the champion, by a repro or one after another by hand."""
        tried = [r for r in self.results if not r.is_baseline and (champion is None or r.run_key != champion.run_key)]
        return max(len(tried), 1)

    def champion(self, version: Version | None) -> Champion | LostChampion | None:
        """The version in Production, scored again from its package unless the workspace has just done so."""
        if version is None:
            return None
        try:
            known = self.contestant(version)
        except LostVersionError as error:
            return LostChampion(version.number, version.detector, version.digest, error.reason)
        return Champion(**vars(known), version=version.number)

    def contestant(self, version: Version) -> Contestant:
        """What a registered version says of `val`; raises LostVersionError where it can't be scored again."""
        try:
            graph = checked_graph(self.client, self.layout, version)
        except FaultyModelError as fault:
            raise LostVersionError(version, str(fault)) from fault
        of_roster = next((r for r in self.results if r.digest == version.digest), None)
        val = of_roster.outcomes("val") if of_roster else self._scored(version, graph)
        unseen = np.ones(len(val.labels), np.bool_) if of_roster else self._unseen(version)
        return Contestant(version.detector, version.digest, version.run_key, val, unseen)

    def _scored(self, version: Version, graph: Path) -> Outcomes:
        """What the version says of `val`; remembered, so that a repro does not score an old champion every time."""
        name = digest_of(f"{version.digest} {set_digest(self.val)}")
        memory = self.layout.scratch / "scored" / f"{name}.npz"  # an archive has a checksum
        try:
            with np.load(memory) as kept:
                said = kept["said"]
        except (OSError, ValueError, KeyError, BadZipFile, zlib.error):  # not scored yet, or damaged: only slower
            screening = PackagedDetector(graph).screen(self.val.pixels)
            said = np.stack([screening.score, screening.probability, screening.abnormal.astype(np.float32)])
            with replaced(memory) as partial, partial.open("wb") as file:
                np.savez(file, said=said)
        return outcomes_of(
            labels=self.val.labels,
            scores=said[0],
            patients=self.val.patients,
            abnormal=said[2] > 0,
            probabilities=said[1],
        )

    def _unseen(self, version: Version) -> NDArray[np.bool_]:
        """(N,): the images of `val` of people of whom the version was trained on no image that `val` has.

        That is all of them as long as no image is taken out of the data: one patient's images lie in one split.
        """
        content = kept_file(self.client, version.run_id, TRAINED_ON)
        if content is None:
            raise LostVersionError(version, "its run does not keep which images it was trained on")
        try:
            table = pq.read_table(pa.BufferReader(content), columns=["digest"])
        except (OSError, ValueError) as error:  # pyarrow's own are both
            raise LostVersionError(version, f"{TRAINED_ON} of its run is damaged") from error
        if len(table) == 0:
            raise LostVersionError(version, "its run keeps an empty list of the images it was trained on")
        seen = np.isin(np.array(self.val.digests), table["digest"].to_numpy(zero_copy_only=False))
        known: NDArray[np.bool_] = ~np.isin(self.val.patients, self.val.patients[seen])
        return known

    @cached_property
    def _baselines(self) -> dict[str, Outcomes]:
        return {result.detector: result.outcomes("val") for result in self.results if result.is_baseline}

    @cached_property
    def _leaked_images(self) -> int:
        """Train and tune are both for learning: what they share harms no comparison."""
        leaks = json.loads(self.layout.curation_report.read_text())["leaks"]
        return sum(about["images"] for pair, about in leaks.items() if pair != "train+tune")


def _passed_over(version: Version, champion: Version | None, chosen: tuple[Entry, int] | None) -> str:
    """A person's choice outlives a repro: only a version that came later may compete with what they chose."""
    if champion is None or chosen is None or version.number == champion.number:
        return ""
    entry, at = chosen
    # by number: a clock may have been set back; entries of a medscreen without `newest` have the time alone
    if version.number > entry.newest if entry.newest else version.made.timestamp() * 1000 > at:
        return ""
    return (
        f"{entry.by} put version {champion.number} into Production on {entry.at[:10]} when this one was there already "
        f"(medscreen promote {version.number} puts it there)"
    )
