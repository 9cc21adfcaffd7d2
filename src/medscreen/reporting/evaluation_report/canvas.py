"""Colors, size and file format of all figures."""

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
"""Lock for drawing in threads, as Matplotlib is not thread-safe."""


def save_picture(path: Path, title: str, draw: Callable[..., None], *values: Any) -> None:
    """Draws `draw(axes, *values)` on one pair of axes and saves the figure as PNG."""
    figure = Figure(figsize=(4.8, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes, *values)
    axes.set_title(title, fontsize=10)
    save_figure(figure, path)


def save_figure(figure: Figure, target: Path | IO[bytes]) -> None:
    """Writes a PNG file; equal figures give equal bytes."""
    figure.savefig(target, format="png", metadata={"Software": None})
