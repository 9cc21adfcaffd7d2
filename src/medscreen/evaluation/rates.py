"""Intervals of a share, from its counts alone."""

from scipy.stats import binomtest

from medscreen.evaluation.bootstrap import UNDEFINED, Estimate, estimate
from medscreen.evaluation.outcomes import Outcomes, confusion


def wilson(successes: int, trials: int, confidence: float) -> Estimate:
    """The share successes / trials with its Wilson score interval; undefined without trials.

    It takes trials as independent. Images of one patient are not: where patients have several images it is too
    narrow, and the bootstrap over patients is the interval to report (Wilson 1927, doi 10.2307/2276774).
    """
    if trials == 0:
        return UNDEFINED.copy()
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return estimate(successes / trials, interval.low, interval.high)


def wilson_rates(outcomes: Outcomes, confidence: float) -> dict[str, Estimate]:
    """The shares that the decision is judged by, each with its Wilson interval; see `wilson` for its assumption.

    Unlike a bootstrap interval it has a width where a share is 0 or 1: no miss among 20 is a sensitivity of .84 to 1.
    """
    counts = confusion(outcomes)
    tn, fp = counts["true_negative"], counts["false_positive"]
    fn, tp = counts["false_negative"], counts["true_positive"]
    shares = {
        "accuracy": (tp + tn, tn + fp + fn + tp),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
        "false_positive_rate": (fp, tn + fp),
        "false_negative_rate": (fn, tp + fn),
    }
    return {name: wilson(*share, confidence) for name, share in shares.items()}
