"""ROC and precision-recall curves of all detectors in one plot, as PNG."""

from collections.abc import Mapping, Sequence
from io import BytesIO

from matplotlib.figure import Figure

from medscreen.reporting.evaluation_report.canvas import save_figure
from medscreen.reporting.leaderboard import Row

# distinct with any color vision (P. Tol's bright scheme); further detectors repeat the colors with other lines
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#555555")
_LINES = ("-", "--", ":", "-.")
_AXES = {  # columns of the table and axis labels
    "roc": {"false_positive_rate": "false-positive rate", "sensitivity": "sensitivity"},
    "precision_recall": {"recall": "recall (sensitivity)", "precision": "precision (PPV)"},
}


def curves_picture(
    kind: str, rows: Sequence[Row], points: Mapping[str, tuple[float | None, float | None]], prevalence: float
) -> bytes:
    """Plots a table of reports/plots, `roc` or `precision_recall`, with the chance line.

    `points`: detector -> its operating point (x, y), in the order of the legend. `prevalence`: abnormal share of test.
    """
    figure = Figure(figsize=(4.4, 4.6), dpi=110, layout="constrained")
    axes, columns = figure.subplots(), _AXES[kind]
    axes.plot([0, 1], [0, 1] if kind == "roc" else [prevalence] * 2, color="0.7", lw=1, label="chance")
    for number, (detector, (x, y)) in enumerate(points.items()):
        color, line = _COLORS[number % len(_COLORS)], _LINES[number // len(_COLORS) % len(_LINES)]
        curve = [[float(row[column]) for row in rows if row["detector"] == detector] for column in columns]
        axes.plot(*curve, color=color, ls=line, lw=1.6, label=detector)
        if x is not None and y is not None:
            axes.plot(x, y, "o", ms=7, color=color, mec="white")
    xlabel, ylabel = columns.values()
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    stream = BytesIO()
    save_figure(figure, stream)
    return stream.getvalue()
