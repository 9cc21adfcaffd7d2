"""What the gate looks at: candidates and champion, each on the same images of `val`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.parquet as pq
from mlflow import MlflowClient
from numpy.typing import NDArray

from medscreen.errors import MedscreenError
from medscreen.evaluation import Outcomes
from medscreen.images import ImageSet, load_images, set_digest
from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.packaging.detector import PackagedDetector
from medscreen.promotion import Candidate, Champion, Contestant, LostChampion
from medscreen.registry.decisions import DecisionLog
from medscreen.registry.versions import Version
from medscreen.tracking import Result
from medscreen.tracking.models import logged_graph
from medscreen.tracking.runs import TRAINED_ON


class LostVersionError(MedscreenError):
    """A registered version that can't be scored again, or of which nobody knows what it was trained on."""


@dataclass(frozen=True)
class Evidence:
    """The workspace's `val` and roster, and how registered versions do on it."""

    client: MlflowClient
    layout: Layout
    results: Sequence[Result]

    @cached_property
    def val(self) -> ImageSet:
        """The images that everything is compared on."""
        return load_images(self.layout.curated("val"))

    def of_roster(self, result: Result, champion: Version | None, rolled_back: str) -> Candidate:
        """A detector of the workspace; it has seen nothing of `val`, or the audit counts it as a leak."""
        tried = [r for r in self.results if not r.is_baseline and (champion is None or r.run_key != champion.run_key)]
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
            rivals=max(len(tried), 1),
            rolled_back=rolled_back,
        )

    def of_version(self, version: Version) -> Candidate:
        """A registered version, scored again from its package; raises LostVersionError where that can't be done."""
        known = self.contestant(version)
        return Candidate(
            **vars(known),
            is_baseline=version.is_baseline,
            baselines=self._baselines,
            leaked_images=self._leaked_images,
            rolled_back=version.rolled_back,
        )

    def champion(self, version: Version | None, log: DecisionLog) -> Champion | LostChampion | None:
        """The version in Production, scored again from its package."""
        if version is None:
            return None
        moves = (entry for entry in log.moves() if entry.stage == "Production" and entry.version == version.number)
        last = next(moves, None)
        try:
            known = self.contestant(version)
        except LostVersionError as error:
            return LostChampion(version.number, version.detector, version.digest, str(error))
        return Champion(**vars(known), version=version.number, by_hand=last is not None and last.action != "publish")

    def contestant(self, version: Version) -> Contestant:
        """What a registered version says of `val`; raises LostVersionError where it can't be scored again."""
        of_roster = next((r for r in self.results if r.digest == version.digest), None)
        val = of_roster.outcomes("val") if of_roster else self._scored(version)
        unseen = np.ones(len(val.labels), np.bool_) if of_roster else self._unseen(version)
        return Contestant(version.detector, version.digest, version.run_key, val, unseen)

    def _scored(self, version: Version) -> Outcomes:
        """What the version says of `val`; remembered, so that a repro does not score an old champion every time."""
        name = hashlib.blake2b(f"{version.digest} {set_digest(self.val)}".encode(), digest_size=16).hexdigest()
        memory = self.layout.scratch / "scored" / f"{name}.npy"
        try:
            said = np.load(memory)
        except (OSError, ValueError):  # not scored yet, or half of it lost: only slower
            graph = logged_graph(self.client, self.layout, version.run_id)
            if graph is None:
                raise LostVersionError("its files are lost") from None
            screening = PackagedDetector(graph).screen(self.val.pixels)
            said = np.stack([screening.score, screening.probability, screening.abnormal.astype(np.float32)])
            with replaced(memory) as partial, partial.open("wb") as file:
                np.save(file, said)
        return Outcomes(
            self.val.labels,
            said[0].astype(np.float64),
            said[2] > 0,
            self.val.patients,
            None,
            said[1].astype(np.float64),
        )

    def _unseen(self, version: Version) -> NDArray[np.bool_]:
        """(N,): the images of `val` of people of whom the version was trained on nothing."""
        if not any(item.path == TRAINED_ON for item in self.client.list_artifacts(version.run_id)):
            raise LostVersionError("its run does not keep which images it was trained on")
        table = pq.read_table(self.client.download_artifacts(version.run_id, TRAINED_ON))
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
