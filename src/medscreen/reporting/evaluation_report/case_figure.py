"""Figure of cases: correct decisions and worst errors, as images beside their maps. It contains pixels."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medscreen.data.images import Pixels
from medscreen.evaluation.outcomes import Outcomes
from medscreen.explain.packaged_map import Maps, PackagedMap
from medscreen.reporting.evaluation_report.canvas import save_figure
from medscreen.reporting.evaluation_report.explanation_figures import MAP_COLORS, map_opacity

ERRORS = ("False positives, highest score first", "False negatives, lowest score first")
_TILES = 9  # per row: a case takes 1, with its map 2, with its reconstruction 3
_GAP, _TEXT = 0.12, 0.6  # between images, and above each row; in tiles
_ROW = 1 + _TEXT
_GRAY: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255}


def select_cases(outcomes: Outcomes) -> dict[str, NDArray[np.int64]]:
    """Heading -> positions of its images: worst errors first, correct decisions by ascending score."""
    rising = np.argsort(outcomes.scores, kind="stable")
    labels, called = outcomes.labels[rising], outcomes.abnormal[rising]
    return {
        "Normal, called normal": rising[(labels == 0) & ~called],
        ERRORS[0]: rising[(labels == 0) & called][::-1],
        "Abnormal, called abnormal": rising[(labels == 1) & called],
        ERRORS[1]: rising[(labels == 1) & ~called],
    }


def save_cases(
    path: Path, pixels: Pixels, outcomes: Outcomes, title: str, explanation: tuple[PackagedMap, str] | None
) -> None:
    """Draws images (N, S, S) of one split: the worst errors, and correct decisions evenly spread over their ranks.

    `explanation`: map and its unit, None if no map is shown.
    """
    parts = [
        "image",
        *(["reconstruction"] if explanation and explanation[0].reconstructs else []),
        *(["map"] if explanation else []),
    ]
    number, step = _TILES // len(parts), len(parts) + _GAP
    groups = select_cases(outcomes)
    width, height = number * step - _GAP, len(groups) * _ROW
    figure = Figure(figsize=(width + (0.9 if explanation else 0), height + 0.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.set_axis_off()
    places: dict[tuple[float, float], int] = {}
    for row, (heading, found) in enumerate(groups.items()):
        y = row * _ROW
        axes.text(0, y + 0.3, f"{heading} ({len(found)} images)", fontsize=9, weight="bold")
        spread = np.linspace(0, len(found) - 1, min(number, len(found))).round().astype(np.int64)
        for column, position in enumerate(found[:number] if heading in ERRORS else found[spread]):
            axes.text(column * step, y + _TEXT - 0.06, f"#{position}: {outcomes.scores[position]:.4g}", fontsize=8)
            places[column * step, y + _TEXT] = int(position)
    chosen = list(places.values())
    images = np.asarray(pixels[chosen])
    _draw_tiles(axes, places, images, **_GRAY)
    if explanation:
        reconstructions = explanation[0].reconstructions(images)
        if reconstructions is not None:
            _draw_tiles(axes, _beside(places, 1), 255 * reconstructions, **_GRAY)
        beside = _beside(places, len(parts) - 1)
        _draw_tiles(axes, beside, images, **_GRAY)
        _draw_maps(axes, beside, explanation[0].maps(images), outcomes.abnormal[chosen], explanation[1])
    columns = "" if len(parts) == 1 else f"; {', '.join(parts)}"
    axes.set_title(f"{title}\n# row of the split: score{columns}", fontsize=9, parse_math=False)
    save_figure(figure, path)


def _beside(places: Iterable[tuple[float, float]], tiles: int) -> list[tuple[float, float]]:
    return [(x + tiles, y) for x, y in places]


def _draw_maps(
    axes: Axes, places: Iterable[tuple[float, float]], maps: Maps, called: NDArray[np.bool_], unit: str
) -> None:
    """Draws maps over their images in one color scale; `called`: True for images called abnormal.

    The scale ends at the median of their maxima, as the most obvious lesion would leave all others dark.
    """
    maps = np.nan_to_num(maps)
    of_interest = maps[called] if called.any() else maps
    highest = float(np.median(of_interest.max((1, 2)))) or 1.0
    _draw_tiles(axes, places, maps, map_opacity(maps, highest), cmap=MAP_COLORS, vmin=0, vmax=highest)
    bar = axes.figure.colorbar(ScalarMappable(Normalize(0, highest), MAP_COLORS), ax=axes, shrink=0.6, extend="max")
    bar.set_label(unit, fontsize=8)


def _draw_tiles(
    axes: Axes,
    places: Iterable[tuple[float, float]],
    values: NDArray[Any],
    opacity: NDArray[Any] | None = None,
    **colors: Any,
) -> None:
    """Draws values (N, S, S), each in the tile at its position."""
    for i, (x, y) in enumerate(places):
        axes.imshow(values[i], alpha=None if opacity is None else opacity[i], extent=(x, x + 1, y + 1, y), **colors)
