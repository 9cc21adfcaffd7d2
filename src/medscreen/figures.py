"""Outcomes -> pictures, and the same as csv tables that `dvc plots` draws."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from medscreen.evaluation import Outcomes, confusion

mpl.use("agg")
_NORMAL, _ABNORMAL, _THRESHOLD = "#4477aa", "#cc6677", "#222222"  # readable with any colour vision (P. Tol)
_BINS = 40
_CURVE_POINTS = 400


def save_tables(outcomes: Outcomes, folder: Path) -> None:
    """Writes confusion.csv, roc.csv, precision_recall.csv and histogram.csv into `folder`."""
    words = np.array(["normal", "abnormal"])
    _save(
        folder / "confusion.csv",
        ("actual", "predicted"),
        zip(words[outcomes.labels], words[outcomes.abnormal.astype(int)], strict=True),
    )
    _save(folder / "roc.csv", ("false_positive_rate", "sensitivity"), zip(*_roc(outcomes), strict=True))
    _save(
        folder / "precision_recall.csv",
        ("recall", "precision"),
        zip(*_precision_recall(outcomes), strict=True),
    )
    edges, counts = _histogram(outcomes)
    centres = (edges[:-1] + edges[1:]) / 2
    rows = [
        (round(float(centre), 6), word, int(count))
        for word, column in zip(words, counts, strict=True)
        for centre, count in zip(centres, column, strict=True)
    ]
    _save(folder / "histogram.csv", ("score", "class", "images"), rows)


def _save(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def save_pictures(outcomes: Outcomes, threshold: float, title: str, folder: Path) -> None:
    """Writes confusion.png, roc.png, precision_recall.png and scores.png into `folder`."""
    drawings = {
        "confusion": _draw_confusion,
        "roc": _draw_roc,
        "precision_recall": _draw_precision_recall,
    }
    for name, draw in drawings.items():
        _picture(folder / f"{name}.png", title, lambda axes, draw=draw: draw(axes, outcomes))
    _picture(folder / "scores.png", title, lambda axes: _draw_scores(axes, outcomes, threshold))


def _picture(path: Path, title: str, draw: Any) -> None:
    figure = Figure(figsize=(4.8, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    figure.savefig(path, metadata={"Software": None})


def _draw_confusion(axes: Axes, outcomes: Outcomes) -> None:
    counts = confusion(outcomes)
    table = np.array(
        [
            [counts["true_negative"], counts["false_positive"]],
            [counts["false_negative"], counts["true_positive"]],
        ]
    )
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
    axes.set_xticks([0, 1], ["normal", "abnormal"])
    axes.set_yticks([0, 1], ["normal", "abnormal"], rotation=90, va="center")
    axes.set_xlabel("called")
    axes.set_ylabel("is")


def _draw_roc(axes: Axes, outcomes: Outcomes) -> None:
    axes.plot([0, 1], [0, 1], color="0.8", lw=1)
    axes.plot(*_roc(outcomes), color=_ABNORMAL)
    counts = confusion(outcomes)
    axes.plot(
        counts["false_positive"] / max(counts["false_positive"] + counts["true_negative"], 1),
        counts["true_positive"] / max(counts["true_positive"] + counts["false_negative"], 1),
        "o",
        color=_THRESHOLD,
        label="operating point",
    )
    axes.set(xlabel="false-positive rate", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", frameon=False)


def _draw_precision_recall(axes: Axes, outcomes: Outcomes) -> None:
    axes.axhline(float(outcomes.labels.mean()), color="0.8", lw=1, label="share of abnormal images")
    axes.plot(*_precision_recall(outcomes), color=_ABNORMAL)
    axes.set(xlabel="recall (sensitivity)", ylabel="precision (PPV)", ylim=(0, 1.02), xlim=(0, 1))
    axes.legend(loc="lower left", frameon=False)


def _draw_scores(axes: Axes, outcomes: Outcomes, threshold: float) -> None:
    edges, (normal, abnormal) = _histogram(outcomes)
    axes.stairs(normal, edges, fill=True, color=_NORMAL, alpha=0.55, label="normal")
    axes.stairs(abnormal, edges, fill=True, color=_ABNORMAL, alpha=0.55, label="abnormal")
    axes.axvline(threshold, color=_THRESHOLD, ls="--", lw=1.2, label="threshold")
    axes.set(xlabel="score (higher: more abnormal)", ylabel="images")
    axes.legend(frameon=False)


def _roc(outcomes: Outcomes) -> tuple[Any, Any]:
    false_positive_rate, sensitivity, _ = roc_curve(outcomes.labels, outcomes.scores)
    return _thinned(false_positive_rate, sensitivity)


def _precision_recall(outcomes: Outcomes) -> tuple[Any, Any]:
    precision, recall, _ = precision_recall_curve(outcomes.labels, outcomes.scores)
    return _thinned(recall, precision)


def _thinned(x: Any, y: Any) -> tuple[Any, Any]:
    """At most _CURVE_POINTS points: a curve of thousands makes a plot no truer, only slower."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).round().astype(int))
    return np.round(x[keep], 6), np.round(y[keep], 6)


def _histogram(outcomes: Outcomes) -> tuple[Any, list[Any]]:
    edges = np.histogram_bin_edges(outcomes.scores, _BINS)
    return edges, [np.histogram(outcomes.scores[outcomes.labels == label], edges)[0] for label in (0, 1)]
