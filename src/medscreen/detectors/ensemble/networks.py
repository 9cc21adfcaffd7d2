"""Networks of the ensemble: score scales and the weighted mean."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medscreen.detectors.shared.layers.dynamic_buffers import DynamicBuffers

_LEAST_GAP = 0.01


class EmpiricalRank(DynamicBuffers):
    """Empirical distribution function of fitted scores, interpolated linearly and extrapolated logarithmically.

    `scores` (M,): strictly ascending. `ranks` (M,): their ranks in 0..1. `spread` (): unit of the extrapolation.
    """

    scores: Tensor
    ranks: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scores", torch.tensor([0.0, 1.0]))
        self.register_buffer("ranks", torch.tensor([0.0, 1.0]))
        self.register_buffer("spread", torch.ones(()))

    def learn(self, scores: Tensor) -> None:
        """Fits the distribution function to scores (N,); ties share their mean rank.

        Of scores closer than 1 % of the span from the 5th to the 95th percentile only the first is kept, so that
        rounding can't change ranks. The percentiles make the span robust against outliers.
        """
        distinct, counts = torch.unique(scores, return_counts=True)
        ranks = (counts.cumsum(0) - counts / 2) / len(scores)
        if len(distinct) == 1:
            distinct, ranks = torch.cat([distinct - 1, distinct + 1]), torch.tensor([0.0, 1.0])
        self.spread = distinct[-1] - distinct[0]
        usual = scores.quantile(0.95) - scores.quantile(0.05)
        gap = _LEAST_GAP * (usual if usual > 0 else self.spread)
        kept = [0]
        for i in range(1, len(distinct) - 1):
            if min(distinct[i] - distinct[kept[-1]], distinct[-1] - distinct[i]) >= gap:
                kept.append(i)
        kept.append(len(distinct) - 1)
        self.scores, self.ranks = distinct[kept], ranks[kept]

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (N,) -> ranks (N,), in 0..1 between the fitted scores."""
        last = len(self.scores) - 1
        above = (scores.unsqueeze(1) >= self.scores).sum(1).clamp(1, last)
        low, high = self.scores[above - 1], self.scores[above]
        within = torch.minimum(torch.maximum(scores, self.scores[0]), self.scores[last])
        share = (within - low) / (high - low)
        rank = self.ranks[above - 1] + share * (self.ranks[above] - self.ranks[above - 1])
        beyond = torch.log1p((scores - within).abs() / self.spread) * torch.sign(scores - within)
        return rank + beyond * self.ranks[0].clamp(min=1e-4)


class PlattScaling(nn.Module):
    """Platt scaling: log odds = slope * score + offset."""

    slope: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, scores: Tensor) -> Tensor:
        """Scores (N,) -> log odds (N,)."""
        return self.slope * scores + self.offset


class Ensemble(nn.Module):
    """Weighted mean of the members' scaled scores; each member has one scale, and `weights` (K,) sum to 1."""

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], scales: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.scales = nn.ModuleList(scales)
        self.register_buffer("weights", torch.full((len(members),), 1 / len(members)))

    def opinions(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, K): each member's score on its scale."""
        outputs = (member(images) for member in self.members)
        # a member with findings returns a pair: scores and class probabilities
        scores = [one[0] if isinstance(one, tuple) else one for one in outputs]
        return torch.stack([scale(score) for scale, score in zip(self.scales, scores, strict=True)], 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N,)."""
        return self.opinions(images) @ self.weights
