"""From a thorax to a film: pose, transmission, scatter, photons, detector."""

import numpy as np
from scipy import ndimage

from medscreen.data.sources.phantom.anatomy import MU_LUNG, MU_WATER, Plane, Thorax, chords
from medscreen.data.sources.phantom.lesions import Lesion, water

_FIELD = 36.0  # side of the square detector, cm


def expose(thorax: Thorax, lesion: Lesion | None, contrast: float, size: int, rng: np.random.Generator) -> Plane:
    """One film (size, size): bone and tissue high, air low, arbitrary units.

    All of `rng` goes into pose, exposure and noise: with the same state, two films differ by the lesion (and by the
    photon noise that it changes) alone. `contrast` 1 is the attenuation of water.
    """
    x, y = posed_grid(size, rng)
    seen = chords(thorax, x, y)
    path = seen.path + 0.006 * seen.lungs * _texture(size, rng)
    if lesion is not None:
        path = path + contrast * (MU_WATER - MU_LUNG) * water(lesion, x, y, seen.lungs)
    return _detect(np.maximum(path, 0.0), size, rng)


def pixel_spacing(size: int) -> float:
    """Side of a pixel in millimetres."""
    return 10 * _FIELD / size


def posed_grid(size: int, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Detector coordinates seen from a patient who stands a little shifted, turned and nearer or farther."""
    axis = (np.arange(size) + 0.5) / size * _FIELD - _FIELD / 2
    x, y = np.meshgrid(axis, axis)
    angle, zoom = rng.normal(0, np.deg2rad(1.5)), rng.normal(1.0, 0.03)
    x, y = x - rng.normal(0, 0.6), y - rng.normal(0, 0.8)
    return (np.cos(angle) * x - np.sin(angle) * y) * zoom, (np.sin(angle) * x + np.cos(angle) * y) * zoom


def _texture(size: int, rng: np.random.Generator) -> Plane:
    """Zero-mean, unit-variance texture at two scales: what vessels too small to model leave."""
    texture = np.zeros((size, size))
    for sigma_cm in (0.35, 0.9):
        band = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma_cm * size / _FIELD)
        texture += band / band.std()
    result: Plane = texture / np.sqrt(2)
    return result


def _detect(path: Plane, size: int, rng: np.random.Generator) -> Plane:
    """Beer-Lambert transmission, scatter, photon noise, detector blur, saturation, logarithm, gain."""
    pixels_per_cm = size / _FIELD
    photons = 3e6 * np.exp(rng.normal(0, 0.35)) / pixels_per_cm
    scattered, blur = rng.uniform(0.2, 0.5), rng.uniform(0.03, 0.35) * pixels_per_cm
    saturation = np.exp(rng.normal(np.log(0.25), 0.2))  # of the unattenuated beam: beside the body all is black
    gain, offset = rng.normal(1.0, 0.05), rng.normal(0, 0.1)
    transmitted = np.exp(-path)
    # a ray scatters where it interacts: those that pass beside the body don't
    scatter = scattered * ndimage.gaussian_filter(transmitted * (1 - transmitted), 4.0 * pixels_per_cm)
    # last of all draws: how many random numbers it takes depends on the film
    counts = rng.poisson(np.maximum(photons * (transmitted + scatter), 1.0))
    blurred = ndimage.gaussian_filter(counts.astype(np.float64), blur)
    signal = np.maximum(blurred, 1.0) / photons
    density: Plane = -np.log(signal / (1 + signal / saturation))
    return density * gain + offset
