"""The csv files that `dvc plots` draws, and the bench as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medscreen.evaluation.outcomes import Outcomes
from medscreen.reporting.figures.curve_points import histogram, precision_recall_points, roc_points
from medscreen.runtime.escaping import save_csv


def save_tables(outcomes: Outcomes, folder: Path) -> None:
    """Writes confusion.csv, roc.csv, precision_recall.csv and histogram.csv into `folder`."""
    words = np.array(["normal", "abnormal"])
    save_csv(
        folder / "confusion.csv",
        ("actual", "predicted"),
        zip(words[outcomes.labels], words[outcomes.abnormal.astype(int)], strict=True),
    )
    save_csv(folder / "roc.csv", ("false_positive_rate", "sensitivity"), zip(*roc_points(outcomes), strict=True))
    save_csv(
        folder / "precision_recall.csv",
        ("recall", "precision"),
        zip(*precision_recall_points(outcomes), strict=True),
    )
    edges, counts = histogram(outcomes)
    centres = (edges[:-1] + edges[1:]) / 2
    rows = [
        (round(float(centre), 6), word, int(count))
        for word, column in zip(words, counts, strict=True)
        for centre, count in zip(centres, column, strict=True)
    ]
    save_csv(folder / "histogram.csv", ("score", "class", "images"), rows)


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
