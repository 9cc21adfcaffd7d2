"""Figure of the operating point on the score histograms of val and test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medscreen.evaluation.outcomes import Floats, Outcomes, confusion
from medscreen.reporting.evaluation_report.canvas import ABNORMAL, DEFERRAL, NORMAL, THRESHOLD, save_figure

_BINS = 44
_AXIS_QUANTILES = (0.002, 0.998)  # range of the axis: a single outlier would squeeze the rest


def save_operating(splits: Mapping[str, Outcomes], point: Mapping[str, Any], title: str, path: Path) -> None:
    """Draws score histograms of `val` and `test` with threshold, deferral band and error rates."""
    figure = Figure(figsize=(8.2, 5.6), dpi=110, layout="constrained")
    grid = figure.subplots(len(splits), 1, sharex=True)
    every = np.concatenate([outcomes.scores for outcomes in splits.values()])
    edges = score_edges(every, point)
    for axes, (split, outcomes) in zip(grid, splits.items(), strict=True):
        draw_scores(axes, outcomes, point, edges)
        axes.set_title(f"{split}: {_rates(outcomes)}", fontsize=8, loc="left")
    grid[0].legend(frameon=False, fontsize=8, ncols=2)
    grid[-1].set_xlabel("score (higher: more abnormal)")
    figure.suptitle(f"{title}: threshold {point['threshold']:.4g} by {point['policy']} on val", fontsize=11)
    save_figure(figure, path)


def score_edges(scores: Floats, point: Mapping[str, Any]) -> Floats:
    """Bin edges of a score histogram that includes the threshold."""
    low, high = np.quantile(scores, _AXIS_QUANTILES)
    low, high = (min(low, point["threshold"]), max(high, point["threshold"]))
    return np.linspace(low, high, _BINS + 1) if high > low else np.linspace(low - 0.5, high + 0.5, _BINS + 1)


def draw_scores(axes: Axes, outcomes: Outcomes, point: Mapping[str, Any], edges: Floats) -> None:
    """Draws score histograms by class, with the threshold and the deferral band."""
    for label, color, word in ((0, NORMAL, "normal"), (1, ABNORMAL, "abnormal")):
        scores = outcomes.scores[outcomes.labels == label].clip(edges[0], edges[-1])
        counts = np.histogram(scores, edges)[0]
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.55, label=f"{word} ({len(scores)})")
    band = [min(max(point[end], edges[0]), edges[-1]) for end in ("defer_from", "defer_to")]
    axes.axvspan(*band, color=DEFERRAL, alpha=0.35, lw=0, label="deferral band")
    axes.axvline(point["threshold"], color=THRESHOLD, ls="--", lw=1.2, label="threshold")
    axes.set_ylabel("images")


def _rates(outcomes: Outcomes) -> str:
    counts = confusion(outcomes)
    normal, abnormal = counts["true_negative"] + counts["false_positive"], outcomes.labels.sum()
    rates = f"false positives {_share(counts['false_positive'], normal)}, "
    rates += f"false negatives {_share(counts['false_negative'], abnormal)}"
    if outcomes.deferred is not None:
        wrong = (outcomes.labels == 1) != outcomes.abnormal
        kept = ~outcomes.deferred
        rates += f"\ndeferred {_share(outcomes.deferred.sum(), len(kept))}, "
        rates += f"wrong among the rest {_share((wrong & kept).sum(), kept.sum())}"
    return rates


def _share(part: int, of: int) -> str:
    return f"{part / of:.1%} of {of}" if of else "none of 0"
