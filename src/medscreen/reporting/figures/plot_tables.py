"""The csv files that `dvc plots` draws, and the bench as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medscreen.evaluation.outcomes import Outcomes
from medscreen.reporting.figures.curve_points import histogram, precision_recall_points, roc_points
from medscreen.runtime.escaping import save_csv

_COLUMNS = {
    "confusion": ("actual", "predicted"),
    "roc": ("false_positive_rate", "sensitivity"),
    "precision_recall": ("recall", "precision"),
    "histogram": ("score", "class", "images"),
}


def save_plots(judged: Mapping[str, Outcomes], folder: Path) -> None:
    """Writes confusion.csv, roc.csv, precision_recall.csv and histogram.csv, each row with its detector."""
    words = np.array(["normal", "abnormal"])
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _COLUMNS}
    for name, outcomes in judged.items():
        called = zip(words[outcomes.labels], words[outcomes.abnormal.astype(int)], strict=True)
        rows["confusion"] += [(name, *pair) for pair in called]
        rows["roc"] += [(name, *point) for point in zip(*roc_points(outcomes), strict=True)]
        rows["precision_recall"] += [(name, *point) for point in zip(*precision_recall_points(outcomes), strict=True)]
        edges, counts = histogram(outcomes)
        for word, column in zip(words, counts, strict=True):
            centers = zip((edges[:-1] + edges[1:]) / 2, column, strict=True)
            rows["histogram"] += [(name, round(float(center), 6), word, int(count)) for center, count in centers]
    for table, columns in _COLUMNS.items():
        save_csv(folder / f"{table}.csv", ("detector", *columns), rows[table])


def save_bench(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes the bench as csv: a row a policy, values and the ends of their intervals side by side."""
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
