"""CSV files for `dvc plots`, and the threshold comparison as CSV."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from medscreen.evaluation.outcomes import Outcomes
from medscreen.runtime.escaping import save_csv

_BINS = 40
_CURVE_POINTS = 400
_CLASSES = np.array(["normal", "abnormal"])


def save_plots(judged: Mapping[str, Outcomes], folder: Path) -> None:
    """Writes confusion.csv, roc.csv, precision_recall.csv and histogram.csv, each row with its detector."""
    tables = {
        "confusion": (("actual", "predicted"), _decisions),
        "roc": (("false_positive_rate", "sensitivity"), _roc),
        "precision_recall": (("recall", "precision"), _precision_recall),
        "histogram": (("score", "class", "images"), _histogram),
    }
    for table, (columns, rows_of) in tables.items():
        rows = [(name, *row) for name, outcomes in judged.items() for row in rows_of(outcomes)]
        save_csv(folder / f"{table}.csv", ("detector", *columns), rows)


def _decisions(outcomes: Outcomes) -> list[Any]:
    return list(zip(_CLASSES[outcomes.labels], _CLASSES[outcomes.abnormal.astype(int)], strict=True))


def _roc(outcomes: Outcomes) -> list[Any]:
    false_positive_rate, sensitivity, _ = roc_curve(outcomes.labels, outcomes.scores)
    return _thinned(false_positive_rate, sensitivity)


def _precision_recall(outcomes: Outcomes) -> list[Any]:
    precision, recall, _ = precision_recall_curve(outcomes.labels, outcomes.scores)
    return _thinned(recall, precision)


def _thinned(x: Any, y: Any) -> list[Any]:
    """Thins a curve to at most _CURVE_POINTS points, to keep plots fast."""
    keep = np.unique(np.linspace(0, len(x) - 1, min(len(x), _CURVE_POINTS)).round().astype(int))
    return list(zip(np.round(x[keep], 6), np.round(y[keep], 6), strict=True))


def _histogram(outcomes: Outcomes) -> list[Any]:
    edges = np.histogram_bin_edges(outcomes.scores, _BINS)
    centers = [round(float(center), 6) for center in (edges[:-1] + edges[1:]) / 2]
    rows: list[Any] = []
    for label, word in enumerate(_CLASSES):
        counts = np.histogram(outcomes.scores[outcomes.labels == label], edges)[0].tolist()
        rows += [(center, word, count) for center, count in zip(centers, counts, strict=True)]
    return rows


def save_threshold_comparison(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the threshold comparison as CSV: one row per policy, with values and interval bounds."""
    flat = []
    for row in rows:
        line: dict[str, Any] = {"policy": row["policy"], **_ends("threshold", row["threshold"])}
        for split, rates in row["rates"].items():
            for rate, estimate in rates.items():
                line |= _ends(f"{split}_{rate}", estimate)
        flat.append(line | {f"drift_{rate}": drift for rate, drift in row["drift"].items()})
    save_csv(path, list(flat[0]) if flat else ["policy"], [list(line.values()) for line in flat])


def _ends(name: str, estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: estimate["value"], f"{name}_low": estimate["low"], f"{name}_high": estimate["high"]}
