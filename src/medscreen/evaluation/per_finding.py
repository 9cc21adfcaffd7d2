"""Metrics of each kind of abnormality against the same normal images."""

from collections.abc import Sequence

import numpy as np

from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.subgroups import Subgroup, subgroup


def findings(outcomes: Outcomes, classes: Sequence[str], bootstrap: Bootstrap) -> dict[str, Subgroup]:
    """AUROC and sensitivity of each class of abnormal images against all normal ones, sorted by class.

    `classes` (N,) names what each image shows; the names of normal images are not looked at. Counts are of the
    class and the normal images together. Without a normal image the AUROC is None.
    """
    values, truth = np.asarray(classes, dtype=np.str_), outcomes.labels == 1
    return {
        str(value): subgroup(
            outcomes.take(np.flatnonzero(~truth | (values == value))), bootstrap, ["auroc", "sensitivity"]
        )
        for value in np.unique(values[truth])
    }
