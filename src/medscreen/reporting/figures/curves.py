"""Confusion matrices, ROC and precision-recall curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from medscreen.evaluation.outcomes import Outcomes, confusion
from medscreen.reporting.figures.canvas import ABNORMAL, THRESHOLD
from medscreen.reporting.figures.curve_points import precision_recall_points, roc_points


def draw_confusion(axes: Axes, outcomes: Outcomes) -> None:
    """Normal and abnormal images, and what they were called."""
    counts = confusion(outcomes)
    table = [
        [counts["true_negative"], counts["false_positive"]],
        [counts["false_negative"], counts["true_positive"]],
    ]
    draw_counts(axes, np.array(table), ["normal", "abnormal"])


def draw_counts(axes: Axes, table: np.ndarray, names: Sequence[str]) -> None:
    """A confusion matrix (K, K), its colours the shares of each row."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        axes.text(
            column,
            row,
            f"{count}\n{shares[row, column]:.1%}",
            ha="center",
            va="center",
            color="white" if shares[row, column] > 0.5 else "black",
        )
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")
    axes.set_xlabel("called")
    axes.set_ylabel("is")


def draw_roc(axes: Axes, outcomes: Outcomes) -> None:
    """The ROC curve with the operating point on it."""
    axes.plot([0, 1], [0, 1], color="0.8", lw=1)
    axes.plot(*roc_points(outcomes), color=ABNORMAL)
    counts = confusion(outcomes)
    axes.plot(
        counts["false_positive"] / max(counts["false_positive"] + counts["true_negative"], 1),
        counts["true_positive"] / max(counts["true_positive"] + counts["false_negative"], 1),
        "o",
        color=THRESHOLD,
        label="operating point",
    )
    axes.set(xlabel="false-positive rate", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", frameon=False)


def draw_precision_recall(axes: Axes, outcomes: Outcomes) -> None:
    """Precision over recall, and what chance would give."""
    axes.axhline(float(outcomes.labels.mean()), color="0.8", lw=1, label="share of abnormal images")
    axes.plot(*precision_recall_points(outcomes), color=ABNORMAL)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", ylim=(0, 1.02), xlim=(0, 1))
    axes.legend(loc="lower left", frameon=False)
