"""The number of patients of a class that a split needs for an interval."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from medscreen.evaluation.bootstrap import Estimate
from medscreen.evaluation.outcomes import Outcomes

FEWEST = 20
"""Patients of a class: with fewer, one patient moves a share by more than .05, and a bootstrap draws few patients."""
TOO_FEW = "too few to say"
"""Text of a table in place of a figure that too few patients support."""
CLASSES = ("normal", "abnormal")
"""The names of labels 0 and 1."""


def short_classes(outcomes: Outcomes, classes: Collection[str] = CLASSES) -> dict[str, int]:
    """Those of the classes with fewer than FEWEST patients, and how many they have.

    A patient with images of both classes counts in both. Where the source names no patient, each image counts as one.
    """
    counts = {
        name: len(np.unique(outcomes.patients[outcomes.labels == label]))
        for label, name in enumerate(CLASSES)
        if name in classes
    }
    return {name: number for name, number in counts.items() if number < FEWEST}


def supported(estimate: Estimate, outcomes: Outcomes, classes: Collection[str] = CLASSES) -> Estimate:
    """The estimate, without its interval where one of the classes that it rests on has too few patients."""
    return {**estimate, "low": None, "high": None} if short_classes(outcomes, classes) else estimate


def is_too_few(estimate: Mapping[str, Any] | None) -> bool:
    """True for an estimate that rests on too few patients for an interval."""
    return estimate is not None and estimate["value"] is not None and None in (estimate["low"], estimate["high"])
