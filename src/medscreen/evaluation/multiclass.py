"""Multiclass outcomes and metrics of detectors with findings."""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import sklearn.metrics
from numpy.typing import NDArray

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.metrics import auroc, evaluate
from medscreen.evaluation.outcomes import Floats, Outcomes, outcomes_of
from medscreen.evaluation.sample_size import supported


class ClassRow(TypedDict):
    """One-vs-rest metrics of a class; the predicted class is that of highest probability."""

    images: int
    patients: int
    auroc: Estimate
    sensitivity: Estimate
    ppv: Estimate


@dataclass(frozen=True)
class ClassOutcomes:
    """Predictions and labels of N images of K classes.

    `classes` (K,): names. `labels` (N,): true class, 0..K-1. `probabilities` (N, K): the predicted class is that of the
    highest, the first among equals. `patients` (N,): patient of each image.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: Floats
    patients: NDArray[np.int64]

    @property
    def called(self) -> NDArray[np.int64]:
        """(N,): predicted class, 0..K-1."""
        called: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return called

    def one_vs_rest(self, number: int) -> Outcomes:
        """Binary outcomes with this class as abnormal and all others as normal."""
        probability = self.probabilities[:, number]
        truth = (self.labels == number).astype(np.int64)
        return outcomes_of(
            labels=truth,
            scores=probability,
            patients=self.patients,
            abnormal=self.called == number,
            probabilities=probability,
        )


def macro_auroc(outcomes: ClassOutcomes, bootstrap: Bootstrap) -> Estimate:
    """Macro-averaged one-vs-rest AUROC; None if a class has no image.

    Resamples without an image of a class are left out. No interval if a class has too few patients.
    """
    weights = bootstrap.weights(outcomes.patients)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = [outcomes.one_vs_rest(number) for number in range(len(outcomes.classes))]
        found = bootstrap.estimate(np.mean([auroc(one, weights) for one in each], axis=0))
    for one in each:
        found = supported(found, one)
    return found


def per_class(outcomes: ClassOutcomes, bootstrap: Bootstrap) -> dict[str, ClassRow]:
    """Class name -> metrics, in the order of the classes."""
    return {name: _row(outcomes.one_vs_rest(number), bootstrap) for number, name in enumerate(outcomes.classes)}


def _row(outcomes: Outcomes, bootstrap: Bootstrap) -> ClassRow:
    estimates = evaluate(outcomes, bootstrap, ["auroc", "sensitivity", "ppv"])
    return {
        "images": int(outcomes.labels.sum()),
        "patients": len(np.unique(outcomes.patients[outcomes.labels == 1])),
        "auroc": estimates["auroc"],
        "sensitivity": estimates["sensitivity"],
        "ppv": estimates["ppv"],
    }


def confusion_matrix(outcomes: ClassOutcomes) -> NDArray[np.int64]:
    """(K, K) counts: rows are true classes, columns predicted classes."""
    number = len(outcomes.classes)
    if len(outcomes.labels) == 0:  # scikit-learn raises for empty input
        return np.zeros((number, number), np.int64)
    counts: NDArray[np.int64] = sklearn.metrics.confusion_matrix(outcomes.labels, outcomes.called, labels=range(number))
    return counts
