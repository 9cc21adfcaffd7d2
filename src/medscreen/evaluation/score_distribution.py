"""Score distribution of each class."""

from typing import TypedDict

import numpy as np

from medscreen.evaluation.bootstrap import significant
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.sample_size import CLASSES

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


class Distribution(TypedDict):
    """Number, mean, sample standard deviation and quantiles of scores; None if undefined.

    `quantiles`: level as text ("0.5" is the median) -> score.
    """

    images: int
    mean: float | None
    sd: float | None
    quantiles: dict[str, float | None]


def score_distribution(outcomes: Outcomes) -> dict[str, Distribution]:
    """Score distributions of the `normal` and the `abnormal` images."""
    return {name: _distribution(outcomes.scores[outcomes.labels == label]) for label, name in enumerate(CLASSES)}


def _distribution(scores: Floats) -> Distribution:
    quantiles = np.quantile(scores, _QUANTILES) if len(scores) else [None] * len(_QUANTILES)
    return {
        "images": len(scores),
        "mean": significant(scores.mean()) if len(scores) else None,
        "sd": significant(scores.std(ddof=1)) if len(scores) > 1 else None,
        "quantiles": {
            str(share): None if value is None else significant(value)
            for share, value in zip(_QUANTILES, quantiles, strict=True)
        },
    }
