"""Metrics of each finding against all normal images."""

from collections.abc import Sequence

import numpy as np

from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.outcomes import Outcomes
from medscreen.evaluation.subgroups import Subgroup, subgroup


def findings(outcomes: Outcomes, classes: Sequence[str], bootstrap: Bootstrap) -> dict[str, Subgroup]:
    """AUROC and sensitivity of each finding against all normal images, sorted by finding.

    `classes` (N,): finding of each image; ignored for normal images. Counts include the normal images. The AUROC is
    None without normal images.
    """
    values, truth = np.asarray(classes, dtype=np.str_), outcomes.labels == 1
    return {
        str(value): subgroup(
            outcomes.take(np.flatnonzero(~truth | (values == value))), bootstrap, ["auroc", "sensitivity"]
        )
        for value in np.unique(values[truth])
    }
