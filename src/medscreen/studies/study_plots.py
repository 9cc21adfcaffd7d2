"""The pictures of a study: how it went, what mattered, what fast detectors cost."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from medscreen.reporting.figures.canvas import ABNORMAL, NORMAL, THRESHOLD, save_figure
from medscreen.studies.importances import Importance
from medscreen.studies.parameter_plots import draw_contour, draw_parallel, draw_slices, shared_pairs
from medscreen.studies.plot_scales import VALUES, axis_name, broken, floor_of, varying

_DPI = 150
_LETTERS_AN_INCH = 13
_MOST_CONTOURED = 4
_APART = 0.06  # of the axes: labels of the front that are nearer would lie on each other


def save_pictures(
    study: str,
    trials: Sequence[FrozenTrial],
    shares: Sequence[Importance],
    front: Sequence[FrozenTrial],
    folder: Path,
) -> None:
    """Writes into `folder` the pictures for which there are enough trials.

    history.png, slice.png, parallel_coordinates.png, contour.png, importances.png and, where there is a `front` of two
    values (the fastest first), pareto_front.png.
    """
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not completed:
        return
    names = varying(completed)
    ranked = [row.parameter for row in shares if row.said]
    ordered = [*ranked, *(name for name in names if name not in ranked)]
    count = f"{len(trials)} trials ({len(completed)} completed)"

    def save(file: str, about: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        draw(figure)
        figure.suptitle(f"{fill(f'{study}: {about}', int(size[0] * _LETTERS_AN_INCH))}\n{count}", fontsize=9)
        save_figure(figure, folder / f"{file}.png")

    save("history", "tune AUROC over time", (7.5, 4.2), lambda figure: _draw_history(figure.subplots(), trials))
    if names:
        rows = -(-len(ordered) // 4)
        size = (max(2.8 * min(len(ordered), 4), 5.0) + 0.8, 2.5 * rows + 0.7)
        save("slice", "tune AUROC by parameter", size, lambda figure: draw_slices(figure, completed, ordered))
        size = (max(1.35 * (len(ordered) + 1), 6.0), 4.8)
        save(
            "parallel_coordinates",
            "tune AUROC and all parameters",
            size,
            lambda figure: draw_parallel(figure, completed, ordered),
        )
    if ranked:
        size = (7.5, 1.4 + 0.42 * len(ranked))
        save("importances", "what mattered to tune AUROC", size, lambda figure: _draw_shares(figure, shares))
    chosen = ranked[:_MOST_CONTOURED]
    if pairs := len(shared_pairs(completed, chosen)):
        size = (1.2 + 3.5 * min(pairs, 3), 0.6 + 3.5 * -(-pairs // 3))
        save("contour", "tune AUROC by pairs", size, lambda figure: draw_contour(figure, completed, chosen))
    if front:
        size = (6.4, 4.6)
        save("pareto_front", "AUROC and time", size, lambda figure: _draw_front(figure.subplots(), completed, front))


def _draw_history(axes: Axes, trials: Sequence[FrozenTrial]) -> None:
    """Every trial that has a value, and the best so far; those that failed stand on the lower edge."""
    groups = (
        (TrialState.PRUNED, "x", "0.6", "pruned: what it had reached"),
        (TrialState.COMPLETE, "o", NORMAL, "completed"),
    )
    aurocs = [trial.values[0] for trial in trials if trial.state == TrialState.COMPLETE and trial.values]
    floor = floor_of(aurocs)
    for state, marker, colour, word in groups:
        points = [
            (trial.number, max(trial.values[0], floor)) for trial in trials if trial.state == state and trial.values
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True), marker, color=colour, ms=4, alpha=0.8, label=f"{word} ({len(points)})"
            )
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    numbers = [trial.number for trial in completed]
    best = np.maximum.accumulate(aurocs)
    axes.step(
        [*numbers, trials[-1].number], [*best, best[-1]], where="post", color=ABNORMAL, label=f"best: {best[-1]:.4f}"
    )
    failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    if failed:
        axes.plot(
            failed, [0.015] * len(failed), "|", color=THRESHOLD, ms=8, transform=axes.get_xaxis_transform(),
            label=f"failed ({len(failed)})",
        )  # fmt: skip
    axes.set(xlabel="trial", ylabel=axis_name(floor, aurocs))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)


def _draw_shares(figure: Figure, shares: Sequence[Importance]) -> None:
    """Both methods side by side; parameters of some trials only say of how many: fANOVA knows no others."""
    axes = figure.subplots()
    rows = [row for row in shares if row.said]
    every = max(row.trials for row in shares)
    places = np.arange(len(rows))
    methods = (
        (-0.2, NORMAL, "PED-ANOVA: what tells the best tenth", [row.ped_anova for row in rows]),
        (0.2, ABNORMAL, "fANOVA: what explains all values", [row.fanova for row in rows]),
    )
    for shift, colour, word, values in methods:
        axes.barh(places + shift, [value or 0 for value in values], 0.38, color=colour, label=word)
        for place, value in zip(places, values, strict=True):
            said = "cannot be said" if value is None else f"{value:.2f}"
            axes.annotate(
                said, (value or 0, place + shift), (3, 0), textcoords="offset points", va="center", fontsize=7
            )
    labels = [
        broken(row.parameter) if row.trials == every else f"{broken(row.parameter)}\n(in {row.trials} trials)"
        for row in rows
    ]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set(xlabel="share of importance", xlim=(0, 1.08), ylim=(len(rows) - 0.4, -0.6))
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)


def _draw_front(axes: Axes, completed: Sequence[FrozenTrial], front: Sequence[FrozenTrial]) -> None:
    """All completed trials, and the front with the numbers of its trials."""
    times, aurocs = zip(*((trial.values[1], trial.values[0]) for trial in completed), strict=True)
    floor = floor_of(aurocs)
    axes.plot(times, np.maximum(aurocs, floor), "o", color="0.7", ms=4, label="completed")
    ends = [trial.values[1] for trial in front], [max(trial.values[0], floor) for trial in front]
    axes.step(*ends, where="post", color=ABNORMAL, lw=1)
    axes.plot(*ends, "o", color=ABNORMAL, ms=6, label="none is both better and faster")
    if min(times) > 0 and max(times) / min(times) > 10:
        axes.set_xscale("log")
    axes.set(xlabel=f"{VALUES[1]}", ylabel=axis_name(floor, aurocs))
    axes.margins(0.08)
    to_axes = axes.transData + axes.transAxes.inverted()
    last = np.array([-1.0, -1.0])
    for trial, *point in reversed(list(zip(front, *ends, strict=True))):
        place = to_axes.transform(point)
        if np.abs(place - last).max() > _APART:
            axes.annotate(str(trial.number), (point[0], point[1]), (4, -9), textcoords="offset points", fontsize=8)
            last = place
    axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
