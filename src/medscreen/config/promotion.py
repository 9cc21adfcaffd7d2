"""Settings of the promotion gate."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block, Share

Margin = Annotated[float, Field(ge=0, lt=1)]


class SensitivityFloor(Block):
    """Minimum sensitivity at the threshold with this specificity."""

    at_specificity: Share
    at_least: Annotated[float, Field(ge=0, le=1)]


class PromotionParams(Block):
    """Conditions on `val` for Production.

    `confidence`: confidence level of the one-sided bounds, which have to exceed the margins. A candidate that is not
    better is promoted in at most 1 - confidence of cases.
    """

    # metrics without a threshold: a threshold was chosen on val, where metrics at it are optimistic
    metric: Literal["auroc", "average_precision"]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    margin_over_baseline: Margin
    margin_over_champion: Margin
    sensitivity: SensitivityFloor
    min_balanced_accuracy: Annotated[float, Field(ge=0, le=1)]
    max_calibration_error: Annotated[float, Field(ge=0, le=1)]
    max_leaked_images: Annotated[int, Field(ge=0)]
