"""Colors, size and file format of every picture."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.use("agg")

NORMAL, ABNORMAL, THRESHOLD = "#4477aa", "#cc6677", "#222222"  # distinct with any color vision (P. Tol)
DEFERRAL = "#ddcc77"
DRAWING = threading.Lock()
"""Held by threads while they draw: Matplotlib is not thread-safe."""


def save_picture(path: Path, title: str, draw: Callable[..., None], *values: Any) -> None:
    """One picture with one pair of axes: `draw` gets these and the values."""
    figure = Figure(figsize=(4.8, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes, *values)
    axes.set_title(title, fontsize=10)
    save_figure(figure, path)


def save_figure(figure: Figure, target: Path | IO[bytes]) -> None:
    """Writes a PNG file; the same figure gives the same bytes."""
    figure.savefig(target, format="png", metadata={"Software": None})
