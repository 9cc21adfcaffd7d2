"""Metrics of a trial: AUROC and confusion matrix."""

import numpy as np

from medscreen.config.operating import YoudenPolicy
from medscreen.data.images import ImageSet
from medscreen.evaluation.metrics import auroc
from medscreen.evaluation.outcomes import Floats, Outcomes, confusion, outcomes_of
from medscreen.operating.threshold_policies import choose_threshold


def auroc_on(scores: Floats, images: ImageSet) -> float:
    """AUROC (0 to 1) of scores (N,) on these images; .5, as by chance, if any score is not finite."""
    if not np.isfinite(scores).all():
        return 0.5
    return float(auroc(_outcomes(scores, images, 0.0), np.ones((1, len(images))))[0])


def confusion_on(scores: Floats, images: ImageSet) -> dict[str, int]:
    """Confusion matrix at Youden's threshold; optimistic, since the threshold is chosen on the same images."""
    threshold = choose_threshold(YoudenPolicy(policy="youden"), scores, images.labels)
    return confusion(_outcomes(scores, images, threshold))


def _outcomes(scores: Floats, images: ImageSet, threshold: float) -> Outcomes:
    return outcomes_of(labels=images.labels, scores=scores, patients=images.patients, abnormal=scores >= threshold)
