"""Subgroup metrics, such as by sex, age band, site or scanner."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import Outcomes


class Subgroup(TypedDict):
    """Counts of images and patients in a subgroup, and its metrics."""

    images: int
    patients: int
    normal: int
    abnormal: int
    metrics: dict[str, Estimate]


def subgroups(
    outcomes: Outcomes, groups: Sequence[str], bootstrap: Bootstrap, metrics: list[str] | None = None
) -> dict[str, Subgroup]:
    """Metrics (default: all that apply) for each distinct value of `groups` (N,), in sorted order.

    Patients are resampled within the group. A metric of a class without images in the group is None; with too few
    patients it has no interval.
    """
    values = np.asarray(groups, dtype=np.str_)
    return {
        str(value): subgroup(outcomes.take(np.flatnonzero(values == value)), bootstrap, metrics)
        for value in np.unique(values)
    }


def subgroup(outcomes: Outcomes, bootstrap: Bootstrap, metrics: list[str] | None = None) -> Subgroup:
    """Counts and metrics of one group; the metrics of an empty group are None."""
    return {
        "images": len(outcomes.labels),
        "patients": len(np.unique(outcomes.patients)),
        "normal": int((outcomes.labels == 0).sum()),
        "abnormal": int((outcomes.labels == 1).sum()),
        "metrics": evaluate(outcomes, bootstrap, metrics),
    }
