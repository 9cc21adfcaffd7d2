"""Simulated films of a patient: lesion, pose, transmission, scatter, photon noise, detector."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom.anatomy import MU_LUNG, MU_WATER, Plane, Thorax, chords, draw_thorax
from medscreen.data.sources.phantom.cohort import Finding, Patient, stream

_FIELD = 36.0  # side of the square detector, cm
_LUNG_AT_LEAST = 5.0  # cm of lung in front of and behind a finding
_CANDIDATES = 512
_WINDOW_PERCENTILES = (0.5, 99.5)  # the display range of files without a window


@dataclass(frozen=True)
class Lesion:
    """Balls of water with Gaussian density; `opacity` 1 is the density of water at each ball's center."""

    balls: NDArray[np.float64]  # (n, 3): x, y, radius at which the density is 1/e
    opacity: float


def simulate(params: PhantomParams, patient: Patient) -> list[Plane]:
    """The patient's films, (size, size) each, with the display range scaled to 0 (black) to 1 (white)."""
    thorax = draw_thorax(patient.sex, patient.age, stream(params, patient.number, 1))
    lesion = None
    if patient.finding != "none":
        lesion = draw_lesion(patient.finding, thorax, stream(params, patient.number, 2))
    films = []
    for image in range(len(patient.studies)):
        film = expose(thorax, lesion, params.contrast, params.image_size, stream(params, patient.number, 3 + image))
        low, high = np.percentile(film, _WINDOW_PERCENTILES)
        films.append((film - low) / (high - low))
    return films


def draw_lesion(finding: Finding, thorax: Thorax, rng: np.random.Generator) -> Lesion:
    """A random lesion: one ball for a nodule, several for a consolidation, at a position independent of the finding."""
    across, down = rng.uniform(-12, 12, _CANDIDATES), rng.uniform(-12, 11, _CANDIDATES)
    first = int(np.argmax(chords(thorax, across, down).lungs > _LUNG_AT_LEAST))
    center = np.array([across[first], down[first]])
    opacity = float(np.exp(rng.normal(0, 0.6)))
    if finding == "nodule":
        return Lesion(np.array([[*center, rng.uniform(1.0, 1.9)]]), opacity)
    number = int(rng.integers(7, 15))
    spread = rng.uniform(1.5, 3.2)
    places = center + rng.normal(0, spread, (number, 2))
    return Lesion(np.column_stack([places, rng.uniform(0.8, 2.0, number)]), 0.6 * opacity)


def water(lesion: Lesion, x: Plane, y: Plane, lungs: Plane) -> Plane:
    """Length of lung along each ray that the lesion replaces by water, at most the length of lung.

    The integral of exp(-(r/s)^2) along a ray at distance d from the center is sqrt(pi) s exp(-(d/s)^2).
    """
    length = np.zeros_like(x)
    for across, down, radius in lesion.balls:
        squared = ((x - across) ** 2 + (y - down) ** 2) / radius**2
        length += np.sqrt(np.pi) * radius * np.exp(-squared)
    room = np.maximum(lungs, 1e-6)
    replaced: Plane = room * (1 - np.exp(-lesion.opacity * length / room)) * (lungs > 0)
    return replaced


def expose(thorax: Thorax, lesion: Lesion | None, contrast: float, size: int, rng: np.random.Generator) -> Plane:
    """One film (size, size): bone and tissue high, air low, arbitrary units.

    `rng` is used for pose, exposure and noise: from the same state, two films differ only by the lesion and the photon
    noise that it changes. `contrast` 1 is the attenuation of water.
    """
    x, y = posed_grid(size, rng)
    seen = chords(thorax, x, y)
    path = seen.path + 0.006 * seen.lungs * _texture(size, rng)
    if lesion is not None:
        path = path + contrast * (MU_WATER - MU_LUNG) * water(lesion, x, y, seen.lungs)
    return _detect(np.maximum(path, 0.0), size, rng)


def pixel_spacing(size: int) -> float:
    """Side of a pixel in millimeters."""
    return 10 * _FIELD / size


def posed_grid(size: int, rng: np.random.Generator) -> tuple[Plane, Plane]:
    """Detector coordinates relative to a patient who is slightly shifted, rotated and scaled."""
    axis = (np.arange(size) + 0.5) / size * _FIELD - _FIELD / 2
    x, y = np.meshgrid(axis, axis)
    angle, zoom = rng.normal(0, np.deg2rad(1.5)), rng.normal(1.0, 0.03)
    x, y = x - rng.normal(0, 0.6), y - rng.normal(0, 0.8)
    return (np.cos(angle) * x - np.sin(angle) * y) * zoom, (np.sin(angle) * x + np.cos(angle) * y) * zoom


def _texture(size: int, rng: np.random.Generator) -> Plane:
    """Zero-mean, unit-variance texture at two scales, for vessels that are too small to model."""
    texture = np.zeros((size, size))
    for sigma_cm in (0.35, 0.9):
        band = ndimage.gaussian_filter(rng.standard_normal((size, size)), sigma_cm * size / _FIELD)
        texture += band / band.std()
    return texture / 2**0.5


def _detect(path: Plane, size: int, rng: np.random.Generator) -> Plane:
    """Beer-Lambert transmission, scatter, photon noise, detector blur, saturation, logarithm, gain."""
    pixels_per_cm = size / _FIELD
    photons = 3e6 * np.exp(rng.normal(0, 0.35)) / pixels_per_cm
    scattered, blur = rng.uniform(0.2, 0.5), rng.uniform(0.03, 0.35) * pixels_per_cm
    saturation = np.exp(rng.normal(np.log(0.25), 0.2))  # of the unattenuated beam: beside the body all is black
    gain, offset = rng.normal(1.0, 0.05), rng.normal(0, 0.1)
    transmitted = np.exp(-path)
    # rays scatter where they interact, and not beside the body
    scatter = scattered * ndimage.gaussian_filter(transmitted * (1 - transmitted), 4.0 * pixels_per_cm)
    # the last draw, as the number of random numbers that it uses depends on the film
    counts = rng.poisson(np.maximum(photons * (transmitted + scatter), 1.0))
    blurred = ndimage.gaussian_filter(counts.astype(np.float64), blur)
    signal = np.maximum(blurred, 1.0) / photons
    density: Plane = -np.log(signal / (1 + signal / saturation))
    return density * gain + offset
