import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from medscreen.detectors.novelty.hog import OrientedGradients
from medscreen.detectors.novelty.laplacian_pyramid import FAINTEST, PyramidEnergies, blurred
from medscreen.detectors.shared.layers.distances import MahalanobisDistance, NeighborDistance
from medscreen.detectors.shared.layers.regions import in_regions
from medscreen.detectors.shared.layers.standardization import standardized

Floats = NDArray[np.float64]
SIZES = pytest.mark.parametrize("size", [20, 28, 33, 64])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(number: int, width: int, seed: int) -> torch.Tensor:
    """Vectors whose columns depend on each other and differ in unit."""
    vectors = drawn(number, width, seed=seed) @ drawn(width, width, seed=99)
    return vectors * torch.logspace(-1, 1, width) + torch.arange(width)


# Regions


@pytest.mark.parametrize(("size", "number"), [(28, 4), (28, 8), (33, 5), (20, 20), (7, 14), (64, 1)])
def test_regions_are_an_antialiased_triangle_filter(size: int, number: int) -> None:
    maps = torch.rand(2, 3, size, size)
    expected = F.interpolate(maps, size=(number, number), mode="bilinear", antialias=True)
    torch.testing.assert_close(in_regions(maps, number), expected, atol=1e-5, rtol=0)


# Pyramid


def pyramid_by_loops(image: Floats, levels: int, grid: int) -> Floats:
    """The energies of one image: loops over pixels, none of torch's functions."""
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    rest = (image - image.mean()) / (image.std(ddof=1) + 1e-3)
    energies: list[float] = []
    for _ in range(levels):
        side = len(rest)
        padded = np.pad(rest, 2, mode="edge")
        smooth = np.array([[(padded[y : y + 5, x : x + 5] * kernel).sum() for x in range(side)] for y in range(side)])
        detail, number = np.abs(rest - smooth), min(grid, side)
        for row in range(number):
            for column in range(number):
                down, across = (triangle(side, number, place) for place in (row, column))
                energies.append(math.log(float(down @ detail @ across) + FAINTEST))
        rest = smooth[::2, ::2]
    return np.array(energies)


def triangle(side: int, number: int, place: int) -> Floats:
    reach = side / number
    weights = np.array([max(0.0, 1 - abs(i + 0.5 - (place + 0.5) * reach) / reach) for i in range(side)])
    return weights / weights.sum()


@pytest.mark.parametrize(("size", "levels", "grid"), [(20, 3, 4), (33, 3, 5), (28, 4, 8)])
def test_pyramid_energies_agree_with_loops(size: int, levels: int, grid: int) -> None:
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(size))
    found = PyramidEnergies(size, levels, grid)(images)
    expected = [pyramid_by_loops(image[0].double().numpy(), levels, grid) for image in images]
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)


@SIZES
@pytest.mark.parametrize(("levels", "grid"), [(1, 1), (3, 8), (8, 6)])
def test_a_pyramid_has_the_width_it_states(size: int, levels: int, grid: int) -> None:
    pyramid = PyramidEnergies(size, levels, grid)
    found = pyramid(torch.rand(3, 1, size, size))
    assert found.shape == (3, pyramid.width)
    assert pyramid.width <= levels * grid**2
    assert torch.isfinite(found).all()


def test_detail_is_found_at_its_level_and_in_its_region() -> None:
    x = np.arange(64) * np.ones((64, 1))
    fine, coarse = (torch.from_numpy(0.5 + 0.2 * np.sin(2 * np.pi * x / period)) for period in (3, 16))
    images = torch.stack([fine, coarse])[:, None].float()
    images[:, :, 32:] = 0.5  # nothing below the middle
    energies = PyramidEnergies(64, 3, 2)(images).view(2, 3, 2, 2)
    levels = energies[:, :, 0].mean(2)
    assert levels[0].argmax() == 0
    assert levels[1].argmax() == 2
    assert (energies[:, :, 0] > energies[:, :, 1] + 1).all()


def test_a_pyramid_sees_no_exposure_and_nothing_in_a_blank_image() -> None:
    images = torch.rand(3, 1, 28, 28)
    pyramid = PyramidEnergies(28, 3, 4)
    torch.testing.assert_close(pyramid(images), pyramid(0.5 * images + 0.3), atol=0.02, rtol=0)
    blank = pyramid(torch.full((1, 1, 28, 28), 0.7))
    torch.testing.assert_close(blank, torch.full_like(blank, math.log(FAINTEST)), atol=0.1, rtol=0)


def test_blurring_keeps_a_constant_and_spreads_a_point() -> None:
    torch.testing.assert_close(blurred(torch.full((1, 1, 9, 9), 0.3)), torch.full((1, 1, 9, 9), 0.3))
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1
    binomial = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    torch.testing.assert_close(blurred(point)[0, 0, 2:7, 2:7], torch.outer(binomial, binomial))


# Histograms of oriented gradients


def hog_by_loops(image: Floats, cells: int, bins: int, block: int, turn: float) -> Floats:
    """One image's histograms, vote by vote."""
    size = len(image)
    image = (image - image.mean()) / (image.std(ddof=1) + 1e-3)
    padded = np.pad(image, 1, mode="edge")
    histograms = np.zeros((cells, cells, bins))
    weights = np.array([triangle(size, cells, place) for place in range(cells)])
    for y in range(size):
        for x in range(size):
            down, across = padded[y + 2, x + 1] - padded[y, x + 1], padded[y + 1, x + 2] - padded[y + 1, x]
            place = (math.atan2(down, across) % turn) / turn * bins - 0.5
            lower = math.floor(place)
            for bin_, part in ((lower % bins, 1 - (place - lower)), ((lower + 1) % bins, place - lower)):
                histograms[:, :, bin_] += part * math.hypot(down, across) * np.outer(weights[:, y], weights[:, x])
    found = []
    for y in range(cells - block + 1):
        for x in range(cells - block + 1):
            vector = histograms[y : y + block, x : x + block].transpose(2, 0, 1).ravel()
            vector = np.minimum(vector / math.sqrt((vector**2).sum() + 1e-4), 0.2)
            found.append(vector / math.sqrt((vector**2).sum() + 1e-4))
    return np.concatenate(found)


@pytest.mark.parametrize(("size", "cells", "bins", "block"), [(20, 4, 9, 2), (33, 5, 6, 3), (28, 3, 8, 1)])
@pytest.mark.parametrize("signed", [False, True])
def test_histograms_agree_with_loops(size: int, cells: int, bins: int, block: int, signed: bool) -> None:
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(size))
    found = OrientedGradients(cells, bins, block, signed)(images)
    turn = 2 * math.pi if signed else math.pi
    expected = [hog_by_loops(image[0].double().numpy(), cells, bins, block, turn) for image in images]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@SIZES
def test_histograms_have_the_width_they_state(size: int) -> None:
    histograms = OrientedGradients(cells=6, bins=9, block=2, signed=True)
    found = histograms(torch.rand(3, 1, size, size))
    assert found.shape == (3, histograms.width) == (3, 5 * 5 * 4 * 9)
    assert found.min() >= 0
    assert found.max() <= 1


def test_only_signed_histograms_tell_dark_to_bright_from_bright_to_dark() -> None:
    ramp = torch.linspace(0, 1, 20).expand(1, 1, 20, 20).contiguous()
    both = torch.cat([ramp, 1 - ramp])
    unsigned, signed = (OrientedGradients(2, 8, 1, turn)(both) for turn in (False, True))
    torch.testing.assert_close(unsigned[0], unsigned[1])
    assert (signed[0] - signed[1]).abs().max() > 0.5
    # the edges of a ramp run across: half the orientation_weights in the first bin, half in the last
    assert unsigned[0].view(4, 8)[:, [0, 7]].min() > 0.6
    assert unsigned[0].view(4, 8)[:, 1:7].max() < 1e-5


# Distances


def scaled_by_hand(vectors: Floats, others: Floats) -> tuple[Floats, Floats]:
    spread = vectors.std(0)
    spread = spread + 0.05 * spread.mean()
    return (vectors - vectors.mean(0)) / spread, (others - vectors.mean(0)) / spread


def test_the_mahalanobis_distance_is_scipys_with_scikit_learns_covariance() -> None:
    healthy, images = correlated(80, 6, 1), correlated(10, 6, 2)
    network = MahalanobisDistance(6)
    network.learn(healthy)
    known, asked = scaled_by_hand(healthy.double().numpy(), images.double().numpy())
    covariance = LedoitWolf().fit(known).covariance_
    expected = [mahalanobis(row, np.zeros(6), np.linalg.inv(covariance)) for row in asked]
    np.testing.assert_allclose(network(images).numpy(), expected, rtol=1e-3)


def test_the_mahalanobis_distance_knows_which_columns_go_together() -> None:
    along = drawn(500, 1)
    network = MahalanobisDistance(2)
    network.learn(torch.cat([along, along + 0.1 * drawn(500, 1, seed=1)], 1))
    together, apart = network(torch.tensor([[2.0, 2.0], [2.0, -2.0]]))
    assert apart > 5 * together


def test_more_columns_than_images_have_a_distance_too() -> None:
    network = MahalanobisDistance(50)
    network.learn(drawn(20, 50))
    found = network(drawn(300, 50, seed=1))
    assert torch.isfinite(found).all()
    assert found.mean() > network(drawn(20, 50)).mean()


@pytest.mark.parametrize("make", [MahalanobisDistance, lambda width: NeighborDistance(width, 1)])
def test_where_no_healthy_image_differs_a_trifle_is_no_infinity(make: type[MahalanobisDistance]) -> None:
    healthy = drawn(100, 4)
    healthy[:, 3] = 1.0
    network = make(4)
    network.learn(healthy)
    trifle = healthy[:1] + torch.tensor([0.0, 0.0, 0.0, 0.004])
    assert (network(trifle) - network(healthy[:1])).abs() < 0.5
    network.learn(torch.ones(5, 4))
    assert torch.isfinite(network(torch.stack([torch.ones(4), torch.zeros(4)]))).all()


@pytest.mark.parametrize("neighbors", [1, 5])
def test_the_distance_from_neighbors_is_scikit_learns(neighbors: int) -> None:
    healthy, images = correlated(200, 7, 1), correlated(30, 7, 2)
    network = NeighborDistance(7, neighbors)
    network.learn(healthy)
    known, asked = scaled_by_hand(healthy.double().numpy(), images.double().numpy())
    expected = NearestNeighbors(n_neighbors=neighbors).fit(known).kneighbors(asked)[0].mean(1)
    np.testing.assert_allclose(network(images).numpy(), expected, rtol=1e-4)


def test_a_known_image_is_at_no_distance_from_itself_however_large_the_numbers() -> None:
    healthy = 100 + drawn(100, 30)
    network = NeighborDistance(30, 1)
    network.learn(healthy)
    assert (network(healthy) == 0).all()


@pytest.mark.parametrize("size", [1, 30])
def test_known_images_are_loaded_however_many(size: int) -> None:
    learned, fresh = NeighborDistance(3, 1), NeighborDistance(3, 1)
    learned.learn(drawn(size, 3))
    fresh.load_state_dict(learned.state_dict())
    asked = drawn(4, 3, seed=1)
    assert torch.equal(fresh(asked), learned(asked))


def test_standardising_is_what_the_loops_above_assume() -> None:
    image = torch.rand(1, 1, 12, 12)
    expected = (image - image.mean()) / (image.std() + 1e-3)
    torch.testing.assert_close(standardized(image), expected)
