"""How every picture looks."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

mpl.use("agg")

NORMAL, ABNORMAL, THRESHOLD = "#4477aa", "#cc6677", "#222222"  # readable with any colour vision (P. Tol)
REFER = "#ddcc77"


def save_picture(path: Path, title: str, draw: Callable[[Axes], None]) -> None:
    """One picture with one pair of axes."""
    figure = Figure(figsize=(4.8, 4.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """The same figure gives the same bytes."""
    figure.savefig(path, format="png", metadata={"Software": None})
