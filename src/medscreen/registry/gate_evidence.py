"""Inputs of the promotion gate: outcomes of candidates and champion on the same images of `val`."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from mlflow import MlflowClient
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, curated_images, set_digest
from medscreen.evaluation.outcomes import Outcomes, outcomes_of
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.decision_log import Entry
from medscreen.registry.gate import Candidate, Champion, Contestant, LostChampion
from medscreen.registry.run_record import Record
from medscreen.registry.versions import LostVersionError, Version, require_graph
from medscreen.tracking import names
from medscreen.tracking.detector_results import Result
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout


@dataclass(frozen=True)
class Evidence:
    """Outcomes of the roster's detectors and of registered versions on the workspace's `val`."""

    client: MlflowClient
    layout: Layout
    results: Sequence[Result]

    @cached_property
    def val(self) -> ImageSet:
        """The images on which candidates and champion are compared."""
        return curated_images(self.layout, "val")

    def of_roster(
        self, result: Result, version: Version | None, champion: Version | None, chosen: tuple[Entry, int] | None
    ) -> Candidate:
        """The candidate for a detector of the roster; all images of `val` count as unseen, as the audit reports leaks.

        `version`: its registered version, None without one. `chosen`: the manual decision that put the champion into
        Production and its time (ms), None if a repro did.
        """
        val = result.outcomes("val")
        everything = np.ones(len(val.labels), np.bool_)
        known = Contestant(result.detector, result.digest, result.run_key, val, everything)
        rolled_back = version.rolled_back if version else ""
        passed_over = _passed_over(version, champion, chosen) if version else ""
        return self._candidate(known, champion, result.is_baseline, rolled_back, passed_over)

    def of_version(self, version: Version, champion: Version | None) -> Candidate:
        """The candidate for a registered version; raises LostVersionError if it can't be scored again."""
        return self._candidate(self.contestant(version), champion, version.is_baseline, version.rolled_back, "")

    def _candidate(
        self, known: Contestant, champion: Version | None, is_baseline: bool, rolled_back: str, passed_over: str
    ) -> Candidate:
        # for Bonferroni: every detector of the roster is tried against the champion, by a repro or by hand
        rivals = [r for r in self.results if not r.is_baseline and (champion is None or r.run_key != champion.run_key)]
        leaks = json.loads(self.layout.curation_report.read_text())["leaks"]
        return Candidate(
            **vars(known),
            is_baseline=is_baseline,
            baselines=self._baselines,
            # train and tune both serve training: images shared by the two bias no comparison
            leaked_images=sum(about["images"] for pair, about in leaks.items() if pair != "train+tune"),
            rivals=max(len(rivals), 1),
            rolled_back=rolled_back,
            passed_over=passed_over,
        )

    @cached_property
    def _baselines(self) -> dict[str, Outcomes]:
        return {result.detector: result.outcomes("val") for result in self.results if result.is_baseline}

    def champion(self, version: Version | None) -> Champion | LostChampion | None:
        """The version in Production, LostChampion if it can't be scored again, None if there is none."""
        if version is None:
            return None
        try:
            return Champion(**vars(self.contestant(version)), version=version.number)
        except LostVersionError as error:
            return LostChampion(version.number, version.detector, version.digest, error.reason)

    def contestant(self, version: Version) -> Contestant:
        """The outcomes of a registered version on `val`; raises LostVersionError if it can't be scored again."""
        graph = require_graph(self.client, self.layout, version)
        of_roster = next((result for result in self.results if result.digest == version.digest), None)
        val = of_roster.outcomes("val") if of_roster else self._scored(version, graph)
        unseen = np.ones(len(val.labels), np.bool_) if of_roster else self._unseen(version)
        return Contestant(version.detector, version.digest, version.run_key, val, unseen)

    def _scored(self, version: Version, graph: Path) -> Outcomes:
        """The version's outcomes on `val`, cached so that a repro scores an old champion only once."""
        name = digest_of(f"{version.digest} {set_digest(self.val)}")
        path = self.layout.scratch / "scored" / f"{name}.npz"  # zip archives have checksums
        try:
            with np.load(path) as kept:
                scored = kept["outputs"]
        except (OSError, ValueError, KeyError, BadZipFile, zlib.error):  # not cached yet, or damaged: scored again
            screening = PackagedDetector(graph).screen(self.val.pixels)
            scored = np.stack([screening.score, screening.probability, screening.abnormal.astype(np.float32)])
            with replaced(path) as partial, partial.open("wb") as file:
                np.savez(file, outputs=scored)
        scores, probabilities, abnormal = scored.astype(np.float64)
        return outcomes_of(
            labels=self.val.labels,
            scores=scores,
            abnormal=abnormal > 0,
            patients=self.val.patients,
            probabilities=probabilities,
        )

    def _unseen(self, version: Version) -> NDArray[np.bool_]:
        """Mask (N,) of the images of `val` whose patient has no image of `val` in the version's training data.

        One patient's images lie in one split, so the mask is exact unless images were removed from the data set.
        """
        try:
            trained_on = Record(self.client, self.layout, version).trained_on()
        except (OSError, ValueError, KeyError) as error:  # includes pyarrow's errors
            raise LostVersionError(version, f"{names.TRAINED_ON} of its run is damaged") from error
        if not trained_on:
            lost = "has no" if trained_on is None else "has an empty"
            raise LostVersionError(version, f"its run {lost} list of training images")
        seen = np.isin(self.val.digests, trained_on)
        known: NDArray[np.bool_] = ~np.isin(self.val.patients, self.val.patients[seen])
        return known


def _passed_over(version: Version, champion: Version | None, chosen: tuple[Entry, int] | None) -> str:
    """The reason why a version can't replace a manually promoted champion: it was registered before; "" if it can."""
    if champion is None or chosen is None or version.number == champion.number:
        return ""
    entry, at = chosen
    # by number, since clocks may be set back; entries of older releases have no `newest`, only the time
    if version.number > entry.newest if entry.newest else version.made.timestamp() * 1000 > at:
        return ""
    return (
        f"{entry.by} put version {champion.number} into Production on {entry.at[:10]}, when this version was already "
        f"registered (`medscreen promote {version.number}` promotes it)"
    )
