"""The gate to Production."""

from typing import Annotated, Literal

from pydantic import Field

from medscreen.config.base import Block, Share

Margin = Annotated[float, Field(ge=0, lt=1)]


class SensitivityFloor(Block):
    """Least sensitivity at the threshold that has this specificity."""

    at_specificity: Share
    at_least: Annotated[float, Field(ge=0, le=1)]


class PromotionParams(Block):
    """Conditions on `val` for Production.

    `confidence`: of the one-sided bounds, which have to exceed the margins. A candidate that is no better is promoted
    in at most 1 - confidence of cases.
    """

    # both need no threshold: each was chosen on some val, and flatters there
    metric: Literal["auroc", "average_precision"]
    confidence: Annotated[float, Field(ge=0.5, lt=1)]
    margin_over_baseline: Margin
    margin_over_champion: Margin
    sensitivity: SensitivityFloor
    min_balanced_accuracy: Annotated[float, Field(ge=0, le=1)]
    max_calibration_error: Annotated[float, Field(ge=0, le=1)]
    max_leaked_images: Annotated[int, Field(ge=0)]
