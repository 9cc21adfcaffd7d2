"""A parametric thorax with parallel rays: the length of a ray inside each organ is a formula.

Lengths are centimeters, attenuation coefficients 1/cm (about 60 keV). x grows towards the patient's left (the
right of a film), y downwards, z along the rays. There are no voxels, and no data of patients.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
"""One number per ray, in the shape of the film's coordinates."""

Sex = Literal["F", "M"]

MU_WATER, MU_LUNG = 0.20, 0.05
_MU_BONE_EXCESS = 0.40
_VESSELS_PER_LUNG = 11


@dataclass(frozen=True)
class Thorax:
    """The anatomy of one simulated patient; every film of the patient shares it."""

    half_width: float
    half_depth: float
    lung_scale: float
    heart_size: float
    diaphragm: float
    rib_slope: float
    rib_phase: float
    bone_density: float
    breast: float  # half thickness
    gas_bubble: float  # radius, below the left diaphragm
    vessels: NDArray[np.float64]  # (n, 5): side, angle, length, radius, curvature


@dataclass(frozen=True)
class Chords:
    """Lengths along each ray: `lungs` air-filled lung, `path` attenuation without any finding."""

    lungs: Plane
    path: Plane


def draw_thorax(sex: Sex, age: int, rng: np.random.Generator) -> Thorax:
    """A random anatomy. `age` in years: with age, bone density decreases and heart size increases slightly."""
    larger = 1.0 if sex == "M" else 0.93
    number = 2 * _VESSELS_PER_LUNG
    fan = np.tile(np.linspace(-1.25, 1.35, _VESSELS_PER_LUNG), 2)
    return Thorax(
        half_width=larger * rng.normal(15.3, 0.8),
        half_depth=larger * rng.normal(10.5, 0.9),
        lung_scale=larger * rng.normal(1.02, 0.05),
        heart_size=larger * rng.normal(4.6, 0.4) * (1 + 0.002 * (age - 50)),
        diaphragm=rng.normal(11.2, 0.9),
        rib_slope=rng.normal(4.0, 0.7),
        rib_phase=rng.uniform(-1.0, 1.0),
        bone_density=rng.normal(1.0, 0.12) * (1 - 0.004 * (age - 50)),
        breast=max(rng.normal(2.2, 0.7), 0.3) if sex == "F" else max(rng.normal(0.2, 0.3), 0.0),
        gas_bubble=max(rng.normal(1.4, 0.7), 0.0),
        vessels=np.column_stack(
            [
                np.repeat([-1.0, 1.0], _VESSELS_PER_LUNG),
                fan + rng.normal(0, 0.09, number),
                rng.uniform(5.0, 9.5, number),
                rng.uniform(0.25, 0.5, number),
                rng.normal(0, 0.03, number),
            ]
        ),
    )


def chords(thorax: Thorax, x: Plane, y: Plane) -> Chords:
    """The lengths along each ray at (x, y)."""
    lungs = _lungs(thorax, x, y)
    excess = MU_WATER - MU_LUNG
    breasts = _ellipsoid(np.abs(x), y, (7.5, 6.0), (6.0, 5.5, thorax.breast / 2))
    path = MU_WATER * (_trunk(thorax, x, y) + breasts)
    path += _MU_BONE_EXCESS * thorax.bone_density * _bones(thorax, x, y)
    path -= excess * lungs
    path += excess * np.minimum(_vessels(thorax, x, y), lungs)
    path -= MU_WATER * _airway(x, y)
    path -= MU_WATER * _gas_bubble(thorax, x, y)
    return Chords(lungs, np.maximum(path, 0.0))


def _ellipsoid(x: Plane, y: Plane, center: tuple[float, float], axes: tuple[float, float, float]) -> Plane:
    """Chord along z through an ellipsoid with half axes (x, y, z)."""
    return _solid(((x - center[0]) / axes[0]) ** 2 + ((y - center[1]) / axes[1]) ** 2, axes[2])


def _solid(radius_squared: Plane, half_depth: float) -> Plane:
    """Chord through a solid that is elliptic in z: `radius_squared` is 0 at its axis and 1 at its outline."""
    return 2 * half_depth * _root(1 - radius_squared)


def _tube(distance: Plane, radius: Plane | float) -> Plane:
    """Chord through a tube across the rays, `distance` from its axis."""
    return 2 * _root(radius**2 - distance**2)


def _root(square: Plane) -> Plane:
    root: Plane = np.sqrt(np.maximum(square, 0.0))
    return root


def _step(distance: Plane, softness: float) -> Plane:
    """Smooth step (logistic function) of a distance: 0 far below zero, 1 far above; `softness` in its unit."""
    step: Plane = 1 / (1 + np.exp(np.clip(-distance / softness, -60, 60)))
    return step


def _trunk(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    # broad at the shoulders, narrow below the armpits, a little wider again at the belly
    half_width = thorax.half_width * (1 + 0.45 * _step(-(y + 9.5), 1.3) + 0.004 * np.maximum(y, 0.0))
    trunk = _solid((x / half_width) ** 2, thorax.half_depth)
    shoulders = _step(y + 17.6 - 0.016 * x**2, 0.4)
    neck = _ellipsoid(x, y, (0.0, -20.0), (5.0, 8.0, 5.5))
    return np.maximum(trunk * shoulders, neck)


def _lungs(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    """Air-filled lung: two egg shapes above the diaphragm, less the heart and vessels that displace them."""
    scale = thorax.lung_scale
    half_width = 5.7 * scale * (1 + 0.16 * y / 12)
    height = np.abs(y / (13.2 * scale))
    along = np.where(y < 0, height**2, height**5)  # a rounded apex, a base that reaches down to the angles
    lungs = _solid(((np.abs(x) - 6.9) / half_width) ** 2 + along, 0.7 * thorax.half_depth)
    dome = thorax.diaphragm - 3.4 * (1 - ((np.abs(x) - 5.5) / 6.5) ** 2) + np.where(x > 0, 0.9, 0.0)
    return np.maximum(lungs * _step(dome - y, 0.25) - _mediastinum(thorax, x, y), 0.0)


def _mediastinum(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    size = thorax.heart_size
    ventricles = _ellipsoid(x - 0.45 * (y - 5.0), y, (2.2, 5.2), (size * 1.05, size * 0.95, size * 1.1))
    atrium = _ellipsoid(x, y, (-1.6, 4.6), (size * 0.62, size * 0.95, size * 0.9))
    aorta = _ellipsoid(x, y, (1.9, -5.6), (1.9, 2.1, 3.5))
    upper = _ellipsoid(x, y, (0.0, -3.0), (2.6, 16.0, 5.0))
    return np.maximum(np.maximum(ventricles, atrium), np.maximum(aorta, upper))


def _vessels(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    """Pulmonary vessels that fan out of both hila and taper."""
    total = np.zeros_like(x)
    for side, angle, length, radius, curvature in thorax.vessels:
        across, down = side * x - 3.1, y + 0.8
        along = across * np.cos(angle) + down * np.sin(angle)
        beside = down * np.cos(angle) - across * np.sin(angle) - curvature * along**2
        taper = radius * np.clip(1 - along / length, 0.0, 1.0) * (along > 0)
        total += _tube(beside, taper)
    total += 1.1 * np.exp(-((np.abs(x) - 3.6) ** 2 / 1.6 + (y + 0.6) ** 2 / 3.2))  # hila
    return total


def _bones(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    vertebrae = 1 + 0.25 * np.cos(2 * np.pi * y / 2.6)
    bones = 0.3 * _tube(x, 1.7) * vertebrae
    reach = np.abs(x) / (thorax.half_width * 0.93)
    for number in range(10):
        top = -14.5 + 2.45 * number + thorax.rib_phase
        posterior = top - 1.6 * np.sin(np.pi * reach) + thorax.rib_slope * reach**2
        anterior = top + 4.0 + thorax.rib_slope * (1.6 - reach) - 2.0 * np.sin(np.pi * reach)
        bones += (reach < 1) * _tube(y - posterior, 0.55) * 0.75
        bones += ((reach > 0.35) & (reach < 1)) * _tube(y - anterior, 0.5) * 0.3
    clavicle = (np.abs(x) > 1.6) & (np.abs(x) < 14.0)
    bones += clavicle * _tube(y + 12.6 + 0.2 * np.abs(x) - 0.8 * np.sin(np.abs(x) / 3.5), 0.6)
    lean = np.abs(x) - 13.4 - 0.12 * (y + 6.0)
    bones += 0.5 * _ellipsoid(lean, y, (0.0, -6.5), (2.4, 5.5, 0.5))  # shoulder blades
    bones += 0.6 * _ellipsoid(np.abs(x), y, (17.5, -12.5), (2.2, 2.2, 2.2))  # heads of the arms
    return bones


def _airway(x: Plane, y: Plane) -> Plane:
    trachea = _tube(x - 0.2, 0.85) * _step(-(y + 4.2), 0.3)
    bronchi = _tube(y + 4.4 - 0.9 * np.abs(x - 0.2), 0.6) * _step(3.2 - np.abs(x - 0.2), 0.3)
    return np.maximum(trachea, bronchi * _step(y + 4.6, 0.2))


def _gas_bubble(thorax: Thorax, x: Plane, y: Plane) -> Plane:
    size = max(thorax.gas_bubble, 0.01)
    return 0.6 * _ellipsoid(x, y, (7.0, thorax.diaphragm + 0.6), (1.5 * size, 0.8 * size, size))
