"""Outcomes -> pictures, and the same as csv tables that `dvc plots` draws."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from medscreen.evaluation.outcomes import Floats, Outcomes
from medscreen.reporting.figures.canvas import save_picture
from medscreen.reporting.figures.curves import draw_confusion, draw_counts, draw_precision_recall, draw_roc
from medscreen.reporting.figures.operating_figure import draw_errors
from medscreen.reporting.figures.probability import draw_decision_curve, draw_reliability, draw_shift


def save_pictures(
    splits: Mapping[str, Outcomes],
    healthy_p_values: Floats,
    analysis: Mapping[str, Any],
    threshold: float,
    name: str,
    folder: Path,
) -> None:
    """Writes the pictures of a detector's analysis into `folder`; `splits` are val and test, in this order.

    `healthy_p_values`: of the normal images of test.
    """
    test = splits["test"]
    pictures: dict[str, tuple[str, Callable[[Axes], None]]] = {
        "confusion": ("test split", lambda axes: draw_confusion(axes, test)),
        "roc": ("test split", lambda axes: draw_roc(axes, test)),
        "precision_recall": ("test split", lambda axes: draw_precision_recall(axes, test)),
        "errors": ("scores", lambda axes: draw_errors(axes, splits, threshold)),
        "reliability": ("probabilities", lambda axes: draw_reliability(axes, analysis["reliability"])),
        "decision_curve": (
            "test split",
            lambda axes: draw_decision_curve(axes, analysis["decision_curve"], float(test.labels.mean())),
        ),
        "shift": ("conformal p-values", lambda axes: draw_shift(axes, healthy_p_values)),
    }
    if classes := analysis.get("classes"):
        counts = np.array(classes["confusion"])
        pictures["classes"] = ("findings, test split", lambda axes: draw_counts(axes, counts, classes["names"]))
    for file, (about, draw) in pictures.items():
        save_picture(folder / f"{file}.png", f"{name}, {about}", draw)
