"""What makes a simulated patient abnormal: soft-edged water in the lungs."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medscreen.data.sources.phantom.anatomy import Plane, Thorax, chords

FINDINGS = ("none", "nodule", "consolidation")
Finding = Literal["none", "nodule", "consolidation"]

_LUNG_AT_LEAST = 5.0  # cm of lung in front of and behind a finding
_CANDIDATES = 512


@dataclass(frozen=True)
class Lesion:
    """Balls of water whose density falls off as a Gaussian; `opacity` 1 is water at each ball's center."""

    balls: NDArray[np.float64]  # (n, 3): x, y, radius at which the density is 1/e
    opacity: float


def draw_lesion(finding: Finding, thorax: Thorax, rng: np.random.Generator) -> Lesion:
    """A nodule is one ball; a consolidation is a cloud of them. Where it lies does not depend on what it is."""
    across, down = rng.uniform(-12, 12, _CANDIDATES), rng.uniform(-12, 11, _CANDIDATES)
    inside = np.flatnonzero(chords(thorax, across, down).lungs > _LUNG_AT_LEAST)
    first = int(inside[0]) if len(inside) else 0
    center = np.array([across[first], down[first]])
    opacity = float(np.exp(rng.normal(0, 0.6)))
    if finding == "nodule":
        return Lesion(np.array([[*center, rng.uniform(1.0, 1.9)]]), opacity)
    number = int(rng.integers(7, 15))
    spread = rng.uniform(1.5, 3.2)
    places = center + rng.normal(0, spread, (number, 2))
    return Lesion(np.column_stack([places, rng.uniform(0.8, 2.0, number)]), 0.6 * opacity)


def water(lesion: Lesion, x: Plane, y: Plane, lungs: Plane) -> Plane:
    """Length of lung along each ray that the lesion replaced by water, never more than there is lung.

    The integral of exp(-(r/s)^2) along a ray at distance d from the center is sqrt(pi) s exp(-(d/s)^2).
    """
    length = np.zeros_like(x)
    for across, down, radius in lesion.balls:
        squared = ((x - across) ** 2 + (y - down) ** 2) / radius**2
        length += np.sqrt(np.pi) * radius * np.exp(-squared)
    room = np.maximum(lungs, 1e-6)
    replaced: Plane = room * (1 - np.exp(-lesion.opacity * length / room)) * (lungs > 0)
    return replaced
