"""Detectors that ask several others."""

from collections.abc import Callable
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medscreen.config.detectors.ensemble import EnsembleParams
from medscreen.config.detectors.kinds import SingleParams
from medscreen.data.images import ImageSet
from medscreen.detectors.ensemble.networks import EmpiricalRank, Ensemble, PlattScaling
from medscreen.detectors.shared.base import Detector, KnownState, OnEpoch, ignore, nothing_known, score
from medscreen.errors import MedscreenError

Build = Callable[[SingleParams], Detector]
"""Settings to an unfitted detector."""
Floats = NDArray[np.float64]

_STEPS_A_MEMBER = 20
_LEAST_GAIN = 1e-9  # less is rounding


class EnsembleDetector:
    """The weighted mean of its members' scores, as ranks or as log odds; scales and weights are learned on `tune`.

    A member is trained as it would be alone, or taken from `known`, which gives the same bits.
    """

    findings: tuple[str, ...] = ()

    def __init__(self, params: EnsembleParams, build: Build, known: KnownState = nothing_known) -> None:
        self.params, self.build, self.known = params, build, known
        self.decision_boundary = 0.0 if params.combine == "probability" else None
        self.network: nn.Module = self._joined([build(entry).network for entry in params.members.values()])

    def _joined(self, members: list[nn.Module]) -> Ensemble:
        scales = [PlattScaling() if self.params.combine == "probability" else EmpiricalRank() for _ in members]
        return Ensemble(members, scales).eval()

    def fit(self, train: ImageSet, tune: ImageSet, on_epoch: OnEpoch = ignore) -> Self:  # noqa: ARG002
        """Trains the members that aren't known; no epoch of theirs is reported.

        With images of one class alone in `tune`, ranks have equal weights; probabilities raise MedscreenError.
        """
        labels = tune.labels
        both = 0 < labels.sum() < len(labels)
        if not both and self.params.combine == "probability":
            raise MedscreenError(
                "An ensemble's probabilities need normal and abnormal images in tune, and it holds one class alone; "
                "set combine: rank in params.yaml."
            )
        members = [self._fitted(entry, train, tune) for entry in self.params.members.values()]
        network = self._joined([member.network for member in members])
        scaled = []
        for member, scale in zip(members, network.scales, strict=True):
            scores = torch.from_numpy(score(member, tune.pixels))
            if isinstance(scale, EmpiricalRank):
                scale.learn(scores)
            else:
                slope, offset = platt(scores.double().numpy(), labels)
                scale.load_state_dict({"slope": torch.tensor(slope), "offset": torch.tensor(offset)})
            scaled.append(scale(scores).double().numpy())
        if both:
            from sklearn.metrics import roc_auc_score  # only an ensemble pays for scikit-learn

            worth = log_likelihood if self.params.combine == "probability" else roc_auc_score
            found = raised_weights(np.stack(scaled, 1), lambda mean: float(worth(labels, mean)))
            network.weights.copy_(torch.from_numpy(found))
        self.network = network
        return self

    def _fitted(self, entry: SingleParams, train: ImageSet, tune: ImageSet) -> Detector:
        state = self.known(entry)
        if state is None:
            trained = self.build(entry).fit(train, tune).network.state_dict()
            state = {name: value.contiguous() for name, value in trained.items()}
        member = self.build(entry)
        member.network.load_state_dict(state)
        return member


def raised_weights(scaled: Floats, worth: Callable[[Floats], float]) -> Floats:
    """Weights (K,) of scaled (N, K), above 0 and of sum 1, under which the mean is worth more than with equal ones.

    Every member has one share; whichever raises the worth most by a further one gets it, as long as any does
    (Caruana et al. 2004, doi 10.1145/1015330.1015432, without their start from nothing, which few images mislead).
    """
    members = scaled.shape[1]
    shares = np.ones(members)
    best = worth(scaled @ shares / members)
    for _ in range(_STEPS_A_MEMBER * members):
        total = shares.sum() + 1
        worths = [worth((scaled @ shares + scaled[:, k]) / total) for k in range(members)]
        if max(worths) <= best + _LEAST_GAIN:
            break
        best = max(worths)
        shares[worths.index(best)] += 1
    weights: Floats = shares / shares.sum()
    return weights


def log_likelihood(labels: NDArray[np.int64], log_odds: Floats) -> float:
    """The mean log probability of the labels (N,), both classes weighing the same."""
    log_probability = -np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds))
    return float(log_probability[labels == 1].mean() + log_probability[labels == 0].mean()) / 2


def platt(scores: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Slope (at least 0) and offset of the log odds that scores (N,) give labels (N,), both classes weighing the same.

    Platt 1999: with targets that fall short of 0 and 1, so that a perfect separation has a finite slope.
    """
    from sklearn.linear_model import LogisticRegression

    counts = np.bincount(labels, minlength=2)
    sure = (counts[labels] + 1) / (counts[labels] + 2)
    center, spread = scores.mean(), max(scores.std(), 1e-12)
    standard = ((scores - center) / spread)[:, None]
    weights = 0.5 / counts[labels]
    curve = LogisticRegression(C=1e6, max_iter=1000)
    curve.fit(
        np.concatenate([standard, standard]),
        np.concatenate([labels, 1 - labels]),
        np.concatenate([sure * weights, (1 - sure) * weights]) * len(labels),
    )
    slope = float(curve.coef_[0, 0]) / spread
    if slope <= 0:  # a member that points the wrong way has no say; it isn't turned around
        return 0.0, 0.0
    return slope, float(curve.intercept_[0]) - slope * center
