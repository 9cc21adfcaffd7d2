"""The value of a trial: AUROC and confusion of scores on labeled images."""

import numpy as np

from medscreen.config.operating import YoudenPolicy
from medscreen.data.images import ImageSet
from medscreen.evaluation.metrics import auroc
from medscreen.evaluation.outcomes import Floats, Outcomes, confusion, outcomes_of
from medscreen.operating.threshold_policies import choose_threshold


def auroc_on(scores: Floats, images: ImageSet) -> float:
    """AUROC (0 to 1) of scores (N,) on these images; .5 where they are not all finite, which separates nothing."""
    if not np.isfinite(scores).all():
        return 0.5
    return float(auroc(_outcomes(scores, images, 0.0), np.ones((1, len(images))))[0])


def confusion_on(scores: Floats, images: ImageSet) -> dict[str, int]:
    """Counts at Youden's threshold, which is chosen on the same images and flatters."""
    threshold = choose_threshold(YoudenPolicy(policy="youden"), scores, images.labels)
    return confusion(_outcomes(scores, images, threshold))


def _outcomes(scores: Floats, images: ImageSet, threshold: float) -> Outcomes:
    return outcomes_of(labels=images.labels, scores=scores, patients=images.patients, abnormal=scores >= threshold)
