"""What a detector said of images and what is true of them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcomes:
    """What a detector said of N images and what is true; every array is (N,).

    `labels`: 0 normal, 1 abnormal. `abnormal`: the decision at the operating point. `patients`: whose image it
    is; images of one patient are resampled together. `score_at_half`: see detectors.protocol. `probabilities`: of
    being abnormal, in 0..1; None where the detector claims none. `refer`: what is left to a reader, None without band.
    """

    labels: NDArray[np.int64]
    scores: Floats
    abnormal: NDArray[np.bool_]
    patients: NDArray[np.int64]
    score_at_half: float | None
    probabilities: Floats | None = None
    refer: NDArray[np.bool_] | None = None

    def take(self, index: NDArray[np.int64]) -> "Outcomes":
        """The outcomes at these positions."""
        return Outcomes(
            self.labels[index],
            self.scores[index],
            self.abnormal[index],
            self.patients[index],
            self.score_at_half,
            None if self.probabilities is None else self.probabilities[index],
            None if self.refer is None else self.refer[index],
        )

    def at(self, threshold: float) -> "Outcomes":
        """The same scores, called abnormal from another threshold on; as the graph does, with 32 bits."""
        return replace(self, abnormal=self.scores.astype(np.float32) >= np.float32(threshold))


def balanced_view(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Positions of all images of the rarer class and as many, drawn at random, of the other; sorted."""
    rng = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    number = min(len(positions) for positions in classes)
    chosen = [rng.choice(positions, number, replace=False) for positions in classes]
    return np.sort(np.concatenate(chosen))


def confusion(outcomes: Outcomes) -> dict[str, int]:
    """Counts of true and false, positive and negative."""
    truth, called = outcomes.labels == 1, outcomes.abnormal
    return {
        "true_negative": int((~truth & ~called).sum()),
        "false_positive": int((~truth & called).sum()),
        "false_negative": int((truth & ~called).sum()),
        "true_positive": int((truth & called).sum()),
    }
