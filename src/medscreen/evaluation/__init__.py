"""Scores and labels -> figures with intervals; knows no detector.

What every evaluation needs stands here; the rest is imported from its own module, so that a stage depends on no more
than it uses: `calibration`, `comparison`, `distribution`, `findings`, `multiclass`, `rates`, `subgroups`, `utility`.
"""

from medscreen.evaluation.bootstrap import Bootstrap, Estimate
from medscreen.evaluation.metrics import METRICS, Metric, auroc, average_precision, evaluate
from medscreen.evaluation.outcomes import Floats, Outcomes, balanced_view, confusion

__all__ = [
    "METRICS",
    "Bootstrap",
    "Estimate",
    "Floats",
    "Metric",
    "Outcomes",
    "auroc",
    "average_precision",
    "balanced_view",
    "confusion",
    "evaluate",
]
