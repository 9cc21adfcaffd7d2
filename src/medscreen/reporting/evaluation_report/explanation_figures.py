"""Figures that explain a decision: an image beside its map, and feature maps by layer."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from medscreen.explain.packaged_map import Maps, is_constant
from medscreen.reporting.evaluation_report.canvas import save_figure

CONSTANT = "The map is constant: it marks no region."
MAP_COLORS = "viridis"  # readable with any color vision and in grayscale
_MOST_CHANNELS = 8


def save_overlay(path: Path, image: NDArray[np.uint8], found: Maps | None, unit: str, words: tuple[str, str]) -> None:
    """Draws an image (S, S) and, beside it, the image under its map, with a color bar.

    `words`: title, and the text in place of the map if `found` is None. The map is transparent where it is 0. A
    constant map is replaced by a note.
    """
    title, reason = words
    figure = Figure(figsize=(7.6, 3.9), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    if found is not None and is_constant(found[None])[0]:
        found, reason = None, CONSTANT
    if found is None:
        right.imshow(np.full_like(image, 255), cmap="gray", vmin=0, vmax=255)
        right.text(
            0.5,
            0.5,
            fill(reason, 34),
            ha="center",
            va="center",
            transform=right.transAxes,
            fontsize=9,
            parse_math=False,
        )
    else:
        draw_map(right, found, unit)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def map_picture(image: NDArray[np.uint8], found: Maps, unit: str) -> bytes:
    """PNG of an image (S, S) under its map, which must not be constant, with a color bar."""
    figure = Figure(figsize=(3.7, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_off()
    draw_map(axes, found, unit)
    stream = BytesIO()
    save_figure(figure, stream)
    return stream.getvalue()


def map_opacity(found: Maps, highest: float) -> Maps:
    """Opacity of a map over its image, 0 where the map is 0."""
    opacity: Maps = np.clip(2 * found / highest, 0, 0.85)
    return opacity


def draw_map(axes: Axes, found: Maps, unit: str) -> None:
    """Draws a map, which must not be constant, over the image in `axes`, with a color bar."""
    highest = float(found.max())
    overlaid = axes.imshow(found, cmap=MAP_COLORS, vmin=0, vmax=highest, alpha=map_opacity(found, highest))
    bar = axes.figure.colorbar(overlaid, ax=axes, shrink=0.85)
    bar.set_label(unit, fontsize=8)
    if bar.solids is not None:
        bar.solids.set_alpha(1)


def save_layers(path: Path, layers: Mapping[str, NDArray[np.float32]], title: str) -> None:
    """Draws one row per layer: the channels with the highest standard deviation, each in its full range."""
    rows = max(1, len(layers))
    figure = Figure(figsize=(1.0 * _MOST_CHANNELS, 1.2 * rows + 0.5), dpi=80)
    grid = figure.subplots(rows, _MOST_CHANNELS, squeeze=False, gridspec_kw={"hspace": 0.25, "wspace": 0.05})
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.5 / rows / 1.2)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, (name, maps) in zip(grid, layers.items(), strict=False):
        strongest = np.argsort(-maps.std((1, 2)), kind="stable")[:_MOST_CHANNELS]
        for axes, channel in zip(row, strongest, strict=False):
            axes.imshow(maps[channel], cmap=MAP_COLORS)
        shape = f"{len(maps)} channels of {maps.shape[1]} x {maps.shape[2]}"
        row[0].text(0, 1.06, f"{name}: {shape}", fontsize=7, transform=row[0].transAxes)
    figure.suptitle(title, fontsize=9, parse_math=False)
    save_figure(figure, path)
