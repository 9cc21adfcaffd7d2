"""Values over parameters: one by one, in pairs, all at once."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial

from medscreen.evaluation.outcomes import Floats
from medscreen.studies.importances import FEWEST
from medscreen.studies.plot_scales import VALUES, Scale, axis_name, broken, floor_of, scale_of, varying

_COLUMNS = 4
_MAP = "viridis"  # readable with any colour vision
_SMALL = 7
_JITTER = 0.5  # of the distance of two choices
_GRID = 96
_REACH = 0.09  # of an axis: how far a trial speaks for its neighbourhood
_SILENT = 0.05  # places of less weight than this are left white
_ABSENT = -0.14  # below the axes: trials without the parameter pass here


def draw_slices(figure: Figure, completed: Sequence[FrozenTrial], names: Sequence[str]) -> None:
    """AUROC over each parameter, later trials lighter; trials without a parameter are not in its panel."""
    rows, columns = -(-len(names) // _COLUMNS), min(len(names), _COLUMNS)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    norm = Normalize(0, max(trial.number for trial in completed) or 1)
    aurocs = [trial.values[0] for trial in completed]
    floor = floor_of(aurocs)
    for axes, name in zip(grid.flat, names, strict=False):
        scale = scale_of(name, completed)
        having = [trial for trial in completed if name in trial.params]
        # choices would lie on one line
        sideways = [(trial.number * 0.618 % 1 - 0.5) * _JITTER if scale.choices else 0.0 for trial in having]
        axes.scatter(
            [scale.place(trial.params[name]) + side for trial, side in zip(having, sideways, strict=True)],
            [max(trial.values[0], floor) for trial in having],
            c=[trial.number for trial in having],
            cmap=_MAP,
            norm=norm,
            s=14,
            alpha=0.85,
            lw=0,
        )
        scale.dress(axes, "x")
        axes.tick_params(axis="y", labelsize=_SMALL)
    for axes in grid.flat[len(names) :]:
        axes.remove()
    for row in grid:
        row[0].set_ylabel(axis_name(floor, aurocs).replace(" (", "\n("), fontsize=_SMALL + 1)
    bar = figure.colorbar(ScalarMappable(norm, _MAP), ax=grid.flat[: len(names)], fraction=0.03, pad=0.01, aspect=30)
    bar.set_label("trial", fontsize=_SMALL + 1)
    bar.ax.tick_params(labelsize=_SMALL)
    bar.locator = MaxNLocator(5, integer=True)


def draw_parallel(figure: Figure, completed: Sequence[FrozenTrial], names: Sequence[str]) -> None:
    """A line a trial over AUROC and the parameters, the best tenth drawn last and strongest."""
    axes = figure.subplots()
    scales = [scale_of(name, completed) for name in names]
    values = np.array([trial.values[0] for trial in completed])
    low, top = floor_of(list(values)), float(values.max())
    low, best = (low if low < top else top - 1), np.quantile(values, 0.9)
    colours = ScalarMappable(Normalize(*_ends(np.maximum(values, low))), _MAP)
    for i in np.argsort(values, kind="stable"):
        params = completed[i].params
        heights = [scale.share(params[scale.name]) if scale.name in params else _ABSENT for scale in scales]
        line = [(max(values[i], low) - low) / (top - low), *heights]
        strength = (1.5, 0.95) if values[i] >= best else (0.9, 0.45)
        axes.plot(range(len(line)), line, color=colours.to_rgba(values[i]), lw=strength[0], alpha=strength[1])
    whole = Scale(VALUES[0], (), False, False, low, top)
    for place, scale in enumerate((whole, *scales)):
        axes.axvline(place, color="0.3", lw=0.8, zorder=3)
        for tick, label in zip(scale.ticks(), scale.labels(), strict=True):
            axes.annotate(
                label, (place, scale.share(scale.choices[int(tick)] if scale.choices else tick)), (3, 0),
                textcoords="offset points", fontsize=_SMALL, va="center", zorder=4,
                bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.75},
            )  # fmt: skip
    lowest = 0.0
    if any(name not in trial.params for trial in completed for name in names):
        lowest = _ABSENT
        axes.axhline(_ABSENT, color="0.8", lw=0.8, zorder=0)
        axes.annotate("without it", (-0.05, _ABSENT), fontsize=_SMALL, ha="right", va="center", annotation_clip=False)
    axes.set(xlim=(-0.1, len(names) + 0.75), ylim=(lowest - 0.04, 1.04), yticks=[])
    axes.set_xticks(
        range(len(names) + 1),
        [axis_name(low, list(values)).replace(" (", "\n("), *map(broken, names)],
        fontsize=_SMALL,
        rotation=20,
        ha="right",
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def draw_contour(figure: Figure, completed: Sequence[FrozenTrial], names: Sequence[str]) -> None:
    """AUROC over each pair: the mean of the trials near a place, white where there are none."""
    pairs = shared_pairs(completed, names)
    columns = min(len(pairs), 3)
    grid = figure.subplots(-(-len(pairs) // columns), columns, squeeze=False)
    aurocs = [trial.values[0] for trial in completed]
    floor = floor_of(aurocs)
    norm = BoundaryNorm(MaxNLocator(12).tick_values(*_ends(np.maximum(aurocs, floor))), 256)
    for axes, (across, up) in zip(grid.flat, pairs, strict=False):
        both = [trial for trial in completed if across in trial.params and up in trial.params]
        _draw_pair(axes, both, scale_of(across, completed), scale_of(up, completed), floor, norm)
    for axes in grid.flat[len(pairs) :]:
        axes.remove()
    bar = figure.colorbar(
        ScalarMappable(norm, _MAP), ax=grid.flat[: len(pairs)], fraction=0.03, pad=0.01, aspect=30, extend="min"
    )
    bar.set_label(f"{VALUES[0]}, mean of the trials near", fontsize=_SMALL + 1)
    bar.ax.tick_params(labelsize=_SMALL)


def shared_pairs(completed: Sequence[FrozenTrial], names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of parameters that four trials or more have together, and of which both vary there."""
    pairs = []
    for pair in combinations(names, 2):
        both = [trial for trial in completed if all(name in trial.params for name in pair)]
        if len(both) >= FEWEST and set(pair) <= set(varying(both)):
            pairs.append(pair)
    return pairs


def _draw_pair(
    axes: Axes, trials: Sequence[FrozenTrial], across: Scale, up: Scale, floor: float, norm: Normalize
) -> None:
    places = [_places(scale) for scale in (across, up)]
    nearness = [
        _nearness(scale, own, [trial.params[scale.name] for trial in trials])
        for scale, own in zip((across, up), places, strict=True)
    ]
    # one failure among good neighbours is no valley
    values = np.maximum([trial.values[0] for trial in trials], floor)
    weights = np.einsum("an,bn->ban", *nearness)
    total = weights.sum(axis=2)
    mean = (weights @ values) / np.maximum(total, 1e-12)
    surface = np.ma.masked_where(total < _SILENT, mean)
    axes.pcolormesh(*places, surface, cmap=_MAP, norm=norm, shading="nearest", rasterized=True)
    x, y = ([scale.place(trial.params[scale.name]) for trial in trials] for scale in (across, up))
    axes.scatter(x, y, c=values, cmap=_MAP, norm=norm, s=16, ec="white", lw=0.6)
    across.dress(axes, "x")
    up.dress(axes, "y")


def _places(scale: Scale) -> Floats:
    """Where the surface is drawn along an axis."""
    if scale.choices:
        return np.arange(len(scale.choices), dtype=float)
    places: Floats = (np.geomspace if scale.log else np.linspace)(scale.low, scale.high, _GRID)
    return places


def _nearness(scale: Scale, places: Floats, values: Sequence[Any]) -> Floats:
    """From 0 to 1, (places, values): a choice is near itself alone."""
    if scale.choices:
        own = np.array([scale.place(value) for value in values])
        return np.where(places[:, None] == own, 1.0, 0.0)
    drawn = np.array([scale.share(place) for place in places])
    own = np.array([scale.share(value) for value in values])
    nearness: Floats = np.exp(-(((drawn[:, None] - own) / _REACH) ** 2) / 2)
    return nearness


def _ends(values: Floats) -> tuple[float, float]:
    """Of the colours: all but the worst tenth, since a few failures would leave one colour to all others."""
    low, high = float(np.quantile(values, 0.1)), float(values.max())
    return low, high if high > low else low + 1e-6
