"""Comparison of threshold policies: error rates on `val`, where thresholds are chosen, and on other splits."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from medscreen.config.operating import Policy
from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.evaluation.sample_size import supported
from medscreen.operating.threshold_policies import choose_threshold, classes_of, described

RATES = ("false_positive_rate", "false_negative_rate")


class PolicyRow(TypedDict):
    """A policy, its threshold, and rates by split; `drift`: rate on test minus rate on val.

    Rates on `val` are optimistic, because the threshold was chosen there. Drift includes this optimism and data shift.
    """

    policy: str
    threshold: Estimate
    rates: dict[str, dict[str, Estimate]]
    drift: dict[str, float | None]


def compare_policies(
    policies: Sequence[Policy], splits: Mapping[str, Outcomes], bootstrap: Bootstrap
) -> list[PolicyRow]:
    """One row per policy, with the threshold chosen on `val` and applied to all `splits`, which include `test`.

    The interval of the threshold comes from choosing it on resampled patients of `val`; none if a class that the policy
    uses has too few patients.
    """
    weights = bootstrap.weights(splits["val"].patients)
    return [_row(policy, splits, weights, bootstrap) for policy in policies]


def _row(policy: Policy, splits: Mapping[str, Outcomes], weights: Floats, bootstrap: Bootstrap) -> PolicyRow:
    val = splits["val"]
    threshold = choose_threshold(policy, val.scores, val.labels)
    rates: dict[str, dict[str, Estimate]] = {}
    for split, outcomes in splits.items():
        rates[split] = evaluate(outcomes.at(threshold), bootstrap, list(RATES))
    chosen_again = bootstrap.estimate_on_any_scale(np.array([_again(policy, val, row) for row in weights]))
    return {
        "policy": described(policy),
        "threshold": supported(chosen_again, val, classes_of(policy)),
        "rates": rates,
        "drift": {rate: _difference(rates["test"][rate]["value"], rates["val"][rate]["value"]) for rate in RATES},
    }


def _again(policy: Policy, val: Outcomes, weights: Floats) -> float:
    """Threshold on a resample; NaN if the resample lacks a class."""
    drawn = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    labels = val.labels[drawn]
    if labels.min() == labels.max():
        return float("nan")
    return choose_threshold(policy, val.scores[drawn], labels)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else round(a - b, 6)
