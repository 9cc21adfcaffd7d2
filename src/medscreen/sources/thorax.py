"""A simulated chest film: attenuation along parallel rays through a parametric thorax, then a detector.

Lengths are centimetres, attenuation coefficients 1/cm (about 60 keV). The organs are ellipsoids, cylinders
and tubes, so that the length of a ray inside each is a formula and no voxel is ever made. Simulated: nobody's
body, and no finding of a real patient.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Film = NDArray[np.float64]
Finding = Literal["none", "nodule", "consolidation"]

_FIELD = 34.0  # side of the square detector
_MU_TISSUE, _MU_LUNG, _MU_BONE_EXCESS = 0.20, 0.05, 0.40


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
    bone: float
    vessels: float


def draw_thorax(rng: np.random.Generator) -> Thorax:
    """A random anatomy."""
    return Thorax(
        half_width=rng.normal(16.5, 0.9),
        half_depth=rng.normal(10.5, 0.9),
        lung_scale=rng.normal(1.0, 0.05),
        heart_size=rng.normal(5.2, 0.45),
        diaphragm=rng.normal(9.0, 0.9),
        rib_slope=rng.normal(4.0, 0.7),
        rib_phase=rng.uniform(-1.0, 1.0),
        bone=rng.normal(1.0, 0.12),
        vessels=rng.normal(1.0, 0.2),
    )


def expose(thorax: Thorax, finding: Finding, contrast: float, size: int, rng: np.random.Generator) -> Film:
    """One film (size, size): optical density-like values, bone and tissue high, air low.

    Pose, exposure, scatter, noise, blur and gain are drawn independently of the finding. `contrast` 1 replaces
    the lung inside a finding by water.
    """
    x, y = _posed_grid(size, rng)
    lungs, tissue_in_lungs = _lungs(thorax, x, y)
    path = _MU_TISSUE * _body(thorax, x, y) - (_MU_TISSUE - _MU_LUNG) * lungs
    path += _MU_BONE_EXCESS * thorax.bone * _bones(thorax, x, y)
    path += 0.004 * thorax.vessels * lungs * _vessel_texture(size, rng)
    path += contrast * (_MU_TISSUE - _MU_LUNG) * _finding(finding, x, y, lungs, tissue_in_lungs, rng)
    return _detect(np.maximum(path, 0.0), size, rng)


def _posed_grid(size: int, rng: np.random.Generator) -> tuple[Film, Film]:
    """Detector coordinates seen from a patient who stands a little shifted, turned and nearer or farther."""
    axis = (np.arange(size) + 0.5) / size * _FIELD - _FIELD / 2
    x, y = np.meshgrid(axis, axis)
    angle, zoom = rng.normal(0, np.deg2rad(1.5)), rng.normal(1.0, 0.03)
    x, y = x - rng.normal(0, 0.7), y - rng.normal(0, 0.9)
    return (
        (np.cos(angle) * x - np.sin(angle) * y) * zoom,
        (np.sin(angle) * x + np.cos(angle) * y) * zoom,
    )


def _ellipsoid(x: Film, y: Film, centre: tuple[float, float], axes: tuple[float, float, float]) -> Film:
    """Chord length along z through an ellipsoid with half axes (x, y, z)."""
    inside = 1 - ((x - centre[0]) / axes[0]) ** 2 - ((y - centre[1]) / axes[1]) ** 2
    chord: Film = 2 * axes[2] * np.sqrt(np.maximum(inside, 0.0))
    return chord


def _body(thorax: Thorax, x: Film, y: Film) -> Film:
    # the trunk narrows towards the neck: a shoulder line that falls off to both sides
    half_width = thorax.half_width * (1 + 0.02 * y / 10)
    trunk = 2 * thorax.half_depth * np.sqrt(np.maximum(1 - (x / half_width) ** 2, 0.0))
    shoulders = 1 / (1 + np.exp(-(y + 18.5 - 0.012 * x**2) / 0.5))
    neck = _ellipsoid(x, y, (0.0, -20.0), (5.0, 8.0, 5.5))
    film: Film = np.maximum(trunk * shoulders, neck)
    return film


def _lungs(thorax: Thorax, x: Film, y: Film) -> tuple[Film, Film]:
    """Chord length of air-filled lung, and of the heart and mediastinum that displace it."""
    scale = thorax.lung_scale
    depth = thorax.half_depth * 0.72
    right = _ellipsoid(x, y, (-7.2, 0.0), (5.9 * scale, 13.5 * scale, depth))
    left = _ellipsoid(x, y, (7.4, 0.0), (5.6 * scale, 13.5 * scale, depth))
    dome = thorax.diaphragm - 2.8 * np.exp(-(((np.abs(x) - 6.5) / 4.0) ** 2)) + np.where(x > 0, 0.8, 0.0)
    above_diaphragm = 1 / (1 + np.exp((y - dome) / 0.3))
    size = thorax.heart_size
    heart = _ellipsoid(x - 0.35 * (y - 4.5), y, (2.0, 4.5), (size, size * 0.95, size * 0.8))
    mediastinum = _ellipsoid(x, y, (0.2, -3.0), (2.9, 15.0, 5.0))
    solid = np.maximum(heart, mediastinum)
    return np.maximum((right + left) * above_diaphragm - solid, 0.0), solid


def _bones(thorax: Thorax, x: Film, y: Film) -> Film:
    vertebrae = 1 + 0.25 * np.cos(2 * np.pi * y / 2.6)
    bones = 0.3 * 2 * np.sqrt(np.maximum(1.7**2 - x**2, 0.0)) * vertebrae
    reach = np.abs(x) / (thorax.half_width * 0.93)
    inside = reach < 1
    for number in range(10):
        top = -14.5 + 2.45 * number + thorax.rib_phase
        posterior = top - 1.6 * np.sin(np.pi * reach) + thorax.rib_slope * reach**2
        anterior = top + 4.0 + thorax.rib_slope * (1.6 - reach) - 2.0 * np.sin(np.pi * reach)
        bones += inside * _tube(y - posterior, 0.55) * 0.8
        bones += (inside & (reach > 0.35)) * _tube(y - anterior, 0.5) * 0.35
    clavicle = (np.abs(x) > 1.5) & (np.abs(x) < 13.5)
    bones += clavicle * _tube(y + 13.2 + 0.16 * np.abs(x) - 0.8 * np.sin(np.abs(x) / 3.5), 0.65)
    film: Film = bones
    return film


def _tube(distance: Film, radius: float) -> Film:
    chord: Film = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0.0))
    return chord


def _vessel_texture(size: int, rng: np.random.Generator) -> Film:
    """Zero-mean, unit-variance texture of branching-like structures at two scales."""
    texture = np.zeros((size, size))
    for sigma_cm in (0.35, 0.9):
        band = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma_cm * size / _FIELD)
        texture += band / band.std()
    result: Film = texture / np.sqrt(2)
    return result


def _finding(finding: Finding, x: Film, y: Film, lungs: Film, solid: Film, rng: np.random.Generator) -> Film:
    """Chord length of lung that a finding has replaced by water."""
    # the random numbers are drawn for every film alike, so that a finding changes nothing else of it
    spot, extent, edge = rng.random(), rng.random(), rng.random()
    shape = rng.standard_normal(lungs.shape)
    if finding == "none":
        return np.zeros_like(lungs)
    candidates = np.flatnonzero((lungs > 5.0) & (solid == 0))
    if len(candidates) == 0:
        candidates = np.array([int(lungs.argmax())])
    centre = int(candidates[int(spot * len(candidates))])
    distance = np.hypot(x - x.flat[centre], y - y.flat[centre])
    if finding == "nodule":
        radius = 1.3 + 1.2 * extent
        sphere = 2 * np.sqrt(np.maximum(radius**2 - distance**2, 0.0))
        replaced: Film = ndimage.gaussian_filter(sphere, (0.1 + 0.2 * edge) * len(x) / _FIELD)
    else:
        radius = 3.0 + 3.0 * extent
        clouds = ndimage.gaussian_filter(shape, 0.8 * len(x) / _FIELD)
        clouds = np.clip(1 + 0.5 * clouds / clouds.std(), 0.0, 2.0)
        replaced = lungs * 0.6 * clouds * np.exp(-((distance / radius) ** 2))
    return np.minimum(replaced, lungs)


def _detect(path: Film, size: int, rng: np.random.Generator) -> Film:
    """Beer-Lambert transmission, scatter, photon noise, detector blur, logarithm, gain."""
    pixel = size / _FIELD
    photons = 3e6 * np.exp(rng.normal(0, 0.35)) / pixel
    scattered, blur = rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.45) * pixel
    gain, offset = rng.normal(1.0, 0.05), rng.normal(0, 0.1)
    transmitted = np.exp(-path)
    scatter = scattered * ndimage.gaussian_filter(transmitted, 4.0 * pixel)
    # last of all draws: how many random numbers it takes depends on the film
    counts = rng.poisson(np.maximum(photons * (transmitted + scatter), 1.0))
    blurred = ndimage.gaussian_filter(counts.astype(np.float64), blur)
    density: Film = -np.log(np.maximum(blurred, 1.0) / photons)
    return density * gain + offset
