"""Ensemble detector: weighted mean of its members' scores."""

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
"""Builds an unfitted detector from its settings."""
Floats = NDArray[np.float64]

_STEPS_A_MEMBER = 20
_LEAST_GAIN = 1e-9  # smaller gains are rounding errors


class EnsembleDetector:
    """Weighted mean of its members' scores as ranks or log odds; scales and weights are fitted on `tune`.

    A member is trained as it would be alone, or its state is taken from `known`; both give identical weights.
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
        """Trains members without a known state, then fits scales and weights. No member epoch is reported.

        If `tune` has one class only, ranks get equal weights, and probabilities raise MedscreenError.
        """
        labels = tune.labels
        both = 0 < labels.sum() < len(labels)
        if not both and self.params.combine == "probability":
            raise MedscreenError(
                "tune: one class only; an ensemble of probabilities needs normal and abnormal images. "
                "Set combine: rank in params.yaml."
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
            from sklearn.metrics import roc_auc_score  # slow to import; other detectors do not need it

            metric = log_likelihood if self.params.combine == "probability" else roc_auc_score
            found = raised_weights(np.stack(scaled, 1), lambda mean: float(metric(labels, mean)))
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


def raised_weights(scaled: Floats, metric: Callable[[Floats], float]) -> Floats:
    """Weights (K,) of scaled scores (N, K), above 0 with sum 1, that maximize the metric of the mean greedily.

    Ensemble selection with replacement: every member starts with one share, and the member that raises the metric most
    gets a further one until none does (Caruana et al. 2004, doi 10.1145/1015330.1015432, who start from no member; with
    few images that start is unreliable).
    """
    members = scaled.shape[1]
    shares = np.ones(members)
    best = metric(scaled @ shares / members)
    for _ in range(_STEPS_A_MEMBER * members):
        total = shares.sum() + 1
        values = [metric((scaled @ shares + scaled[:, k]) / total) for k in range(members)]
        if max(values) <= best + _LEAST_GAIN:
            break
        best = max(values)
        shares[values.index(best)] += 1
    weights: Floats = shares / shares.sum()
    return weights


def log_likelihood(labels: NDArray[np.int64], log_odds: Floats) -> float:
    """Mean log likelihood of labels (N,) under log odds (N,), with equal class weights."""
    log_probability = -np.logaddexp(0, np.where(labels == 1, -log_odds, log_odds))
    return float(log_probability[labels == 1].mean() + log_probability[labels == 0].mean()) / 2


def platt(scores: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Platt scaling of scores (N,) with labels (N,) and equal class weights: slope (at least 0) and offset.

    Platt 1999: smoothed targets keep the slope finite where the classes are separable.
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
    if slope <= 0:  # a member that ranks in the wrong direction is ignored, not inverted
        return 0.0, 0.0
    return slope, float(curve.intercept_[0]) - slope * center
