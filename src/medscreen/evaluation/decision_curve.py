"""Predictive values at a given prevalence, and decision-curve analysis."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from medscreen.evaluation.bootstrap import Bootstrap, Estimate, rounded
from medscreen.evaluation.calibration_error import probabilities_of
from medscreen.evaluation.metrics import METRICS
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.sample_size import supported


class NetBenefit(TypedDict):
    """Net benefit at a threshold probability, in true positives per image; that of treating none is 0."""

    threshold: float
    model: Estimate
    treat_all: Estimate
    treat_none: float


def predictive_values(outcomes: Outcomes, prevalence: float, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """PPV and NPV at a prevalence (share of abnormal patients) in 0..1.

    By Bayes' theorem from sensitivity and specificity of each resample, assuming that both hold at that prevalence
    (Altman, Bland 1994, doi 10.1136/bmj.309.6947.102).
    """
    weights = bootstrap.weights(outcomes.patients)
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity = METRICS["sensitivity"](outcomes, weights)
        specificity = METRICS["specificity"](outcomes, weights)
        true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        return {
            "ppv": supported(bootstrap.estimate(true_positive / (true_positive + false_positive)), outcomes),
            "npv": supported(bootstrap.estimate(true_negative / (true_negative + false_negative)), outcomes),
        }


def decision_curve(outcomes: Outcomes, thresholds: Sequence[float], bootstrap: Bootstrap) -> list[NetBenefit]:
    """Net benefit of acting on probability >= threshold, of treating all and none, at each threshold in [0, 1).

    True positives / N - false positives / N * threshold / (1 - threshold) (Vickers, Elkin 2006, doi
    10.1177/0272989X06295361), at the share of abnormal images in these outcomes. Raises ValueError if the outcomes have
    no probabilities.
    """
    probabilities = probabilities_of(outcomes)
    weights, truth = bootstrap.weights(outcomes.patients), outcomes.labels == 1
    curve: list[NetBenefit] = []
    for threshold in thresholds:
        benefit = np.where(truth, 1.0, -threshold / (1 - threshold))
        with np.errstate(divide="ignore", invalid="ignore"):
            model = (weights @ (benefit * (probabilities >= threshold))) / weights.sum(axis=1)
            treat_all = (weights @ benefit) / weights.sum(axis=1)
        curve.append(
            {
                "threshold": rounded(threshold),
                "model": supported(bootstrap.estimate(model), outcomes),
                "treat_all": supported(bootstrap.estimate(treat_all), outcomes),
                "treat_none": 0.0,
            }
        )
    return curve
