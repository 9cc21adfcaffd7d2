"""Settings of operating points and of the evaluation."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from medscreen.config.base import Block, Fraction, Share


class MeanSdPolicy(Block):
    """Mean + `sd` standard deviations of the healthy scores of `val`."""

    policy: Literal["mean_sd"]
    sd: float


class HealthyQuantilePolicy(Block):
    """A quantile of the healthy scores of `val`."""

    policy: Literal["healthy_quantile"]
    quantile: Fraction


class BestAccuracyPolicy(Block):
    """Threshold of maximum accuracy on `val`."""

    policy: Literal["best_accuracy"]


class YoudenPolicy(Block):
    """Threshold of maximum sensitivity + specificity on `val` (Youden's J)."""

    policy: Literal["youden"]


class F1Policy(Block):
    """Threshold of maximum F1 on `val`."""

    policy: Literal["f1"]


class SensitivityPolicy(Block):
    """The highest threshold with a sensitivity of at least `at_least` on `val`."""

    policy: Literal["sensitivity"]
    at_least: Share


class SpecificityPolicy(Block):
    """The lowest threshold with a specificity of at least `at_least` on `val`."""

    policy: Literal["specificity"]
    at_least: Share


class CostPolicy(Block):
    """Threshold of minimum expected cost per image on `val` at this prevalence; both costs have the same unit."""

    policy: Literal["cost"]
    false_positive: Annotated[float, Field(gt=0)]
    false_negative: Annotated[float, Field(gt=0)]
    prevalence: Fraction


Policy = Annotated[
    MeanSdPolicy
    | HealthyQuantilePolicy
    | BestAccuracyPolicy
    | YoudenPolicy
    | F1Policy
    | SensitivityPolicy
    | SpecificityPolicy
    | CostPolicy,
    Discriminator("policy"),
]
CalibrationName = Literal["platt", "isotonic", "temperature"]


class DeferralParams(Block):
    """Deferral band: scores between the thresholds with this sensitivity and this specificity on `val`."""

    sensitivity: Share
    specificity: Share


class OperatingParams(Block):
    """Threshold, probability calibration and deferral band; all are chosen on `val`."""

    threshold: Policy
    calibration: CalibrationName
    deferral: DeferralParams


class EvaluationParams(Block):
    """Bootstrap over patients; prevalence for PPV and NPV; policies of threshold_comparison.csv."""

    resamples: Annotated[int, Field(ge=100)]
    confidence: Fraction
    prevalence: Fraction
    threshold_comparison: list[Policy]
