"""Minimum number of patients of a class for an interval."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from medscreen.evaluation.bootstrap import Estimate
from medscreen.evaluation.outcomes import Outcomes

FEWEST = 20
"""Minimum of patients in a class: with fewer, one patient changes a proportion by more than .05."""
TOO_FEW = "too few to say"
"""Table cell in place of an estimate from too few patients."""
CLASSES = ("normal", "abnormal")
"""Names of the labels 0 and 1."""


def short_classes(outcomes: Outcomes, classes: Collection[str] = CLASSES) -> dict[str, int]:
    """Classes with fewer than FEWEST patients -> their number of patients.

    A patient with images of both classes counts in both. Without patient IDs, each image counts as a patient.
    """
    counts = {
        name: len(np.unique(outcomes.patients[outcomes.labels == label]))
        for label, name in enumerate(CLASSES)
        if name in classes
    }
    return {name: number for name, number in counts.items() if number < FEWEST}


def supported(estimate: Estimate, outcomes: Outcomes, classes: Collection[str] = CLASSES) -> Estimate:
    """The estimate, without its interval if one of its classes has too few patients."""
    return {**estimate, "low": None, "high": None} if short_classes(outcomes, classes) else estimate


def is_too_few(estimate: Mapping[str, Any] | None) -> bool:
    """True for an estimate from too few patients for an interval."""
    return estimate is not None and estimate["value"] is not None and None in (estimate["low"], estimate["high"])
