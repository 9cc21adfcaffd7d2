"""A trial: the pipeline's training on `train`, evaluated on `tune`, without access to other splits."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from optuna import Trial, TrialPruned
from pydantic import ValidationError

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.studies import StudyParams
from medscreen.config.validation_errors import reason
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import Detector, score
from medscreen.detectors.shared.onnx_export import export_network
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph
from medscreen.studies.search_space import Searched
from medscreen.studies.trial_attributes import CONFUSION, CURVES, OWNER, REASON
from medscreen.studies.trial_scoring import auroc_on, confusion_on

_TIMED = 5


@dataclass(frozen=True)
class Objective:
    """Optuna objective: AUROC on `tune` of an entry trained on `train`; for two objectives also milliseconds an image.

    Raises TrialPruned, with the reason in the trial's attributes, if the pruner stops the trial or the entry can't be
    trained (architecture does not fit the images, loss not finite).
    """

    searched: Searched
    params: StudyParams
    compute: ComputeParams
    seed: int
    train: ImageSet
    tune: ImageSet
    owner: str

    def __call__(self, trial: Trial) -> float | tuple[float, float]:
        """AUROC on tune (0 to 1) or, with it, milliseconds an image."""
        trial.set_user_attr(OWNER, self.owner)
        curves: list[dict[str, float]] = []
        try:
            return self._figure(trial, curves)
        except (MedscreenError, ValidationError) as error:
            trial.set_user_attr(REASON, _sentence(error))
            raise TrialPruned from None
        except TrialPruned:
            raise
        except Exception as error:  # without a reason the trial would count as lost and be repeated
            trial.set_user_attr(REASON, f"{type(error).__name__}: {_sentence(error)}")
            raise
        finally:
            trial.set_user_attr(CURVES, curves)

    def _figure(self, trial: Trial, curves: list[dict[str, float]]) -> float | tuple[float, float]:
        self.searched.suggest(trial)
        entry = self.searched.entry(trial.params)
        entry = entry.within(self.params.epochs) if self.params.epochs else entry
        detector = build(entry, int(self.train.pixels.shape[1]), self.compute, self.seed)
        detector.fit(self.train, self.tune, lambda epoch, terms: self._report(trial, detector, curves, epoch, terms))
        scores = score(detector, self.tune.pixels).astype(np.float64)
        trial.set_user_attr(CONFUSION, confusion_on(scores, self.tune))
        found = auroc_on(scores, self.tune)
        if self.params.objective == "auroc":
            return found
        return found, _milliseconds(detector, self.tune)

    def _report(
        self, trial: Trial, detector: Detector, curves: list[dict[str, float]], epoch: int, terms: Mapping[str, float]
    ) -> None:
        curves.append({"epoch": epoch, **terms})
        if self.params.objective != "auroc":  # Optuna prunes only single-objective studies
            return
        found = auroc_on(score(detector, self.tune.pixels).astype(np.float64), self.tune)
        trial.report(found, epoch)
        if trial.should_prune():
            trial.set_user_attr(REASON, f"{self.params.pruner.kind}: AUROC {found:.3f} on tune after epoch {epoch}")
            raise TrialPruned


def trained_graph(entry: DetectorParams, compute: ComputeParams, seed: int, train: ImageSet, tune: ImageSet) -> bytes:
    """Trains an entry like the pipeline and returns its scoring graph as serialized ONNX."""
    size = int(train.pixels.shape[1])
    detector = build(entry, size, compute, seed).fit(train, tune)
    graph: bytes = scoring_graph(export_network(detector, size), size).SerializeToString()
    return graph


def _milliseconds(detector: Detector, images: ImageSet) -> float:
    """Milliseconds an image of the scoring graph on one thread, the minimum of several passes."""
    size = int(images.pixels.shape[1])
    packaged = PackagedDetector(scoring_graph(export_network(detector, size), size).SerializeToString(), 1)
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        packaged.score(images.pixels)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds) / len(images)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])  # after the kind
        return f"{where}: {reason([first])}".removeprefix(": ")
    return " ".join(str(error).split())[:300]
