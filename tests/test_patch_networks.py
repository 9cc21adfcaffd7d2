import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from torch.nn import functional as F

from medscreen.detectors.patches.coreset import coreset, projected
from medscreen.detectors.patches.feature_maps import Channels, Patches
from medscreen.detectors.patches.memory_bank import MemoryBank
from medscreen.detectors.patches.patch_gaussians import PlaceGaussians
from medscreen.detectors.shared.layers.backbones import Backbone

Floats = NDArray[np.float64]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Patches of a backbone's maps


def lite(side: int = 32) -> Backbone:
    torch.manual_seed(0)
    return Backbone("efficientnet_lite0", "sum", side).eval()


def test_patches_are_the_maps_at_one_grid() -> None:
    backbone, images = lite(), torch.rand(2, 1, 20, 20)
    with torch.no_grad():
        exposed = (images - images.mean((2, 3), keepdim=True)) / (images.std((2, 3), keepdim=True) + 1e-3)
        maps = backbone.maps(0.5 + 0.25 * exposed, 3)
        patches = Patches(backbone, [3, 1], grid=4, neighborhood=1)
        found = patches(images)
    shallow, deep = (F.interpolate(m, size=(4, 4), mode="bilinear", antialias=True) for m in (maps[0], maps[2]))
    expected = torch.cat([shallow, deep], 1)
    assert found.shape == (2, patches.places, patches.width) == (2, 16, 16 + 40)
    torch.testing.assert_close(found[:, 6], expected[:, :, 1, 2], atol=1e-6, rtol=1e-4)
    assert len(backbone.stages) == 3


def test_a_patch_may_know_its_surroundings() -> None:
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        backbone = lite()
        side = backbone.maps(images, 1)[0].shape[2]
        alone, near = (Patches(backbone, [1], side, k)(images) for k in (1, 3))
    maps = alone.view(side, side, 16)
    torch.testing.assert_close(near.view(side, side, 16)[5, 7], maps[4:7, 6:9].mean((0, 1)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(near.view(side, side, 16)[0, 0], maps[:2, :2].mean((0, 1)), atol=1e-5, rtol=1e-4)


def test_channels_are_those_chosen() -> None:
    patches = drawn(2, 3, 5)
    expected = torch.stack([patches[..., 0], patches[..., 3]], 2)
    torch.testing.assert_close(Channels(torch.tensor([0, 3]))(patches), expected)


# PaDiM


def test_each_place_has_its_own_gaussian() -> None:
    healthy = torch.stack([drawn(60, 3, seed=place) @ drawn(3, 3, seed=-place) + place for place in range(4)], 1)
    images = drawn(5, 4, 3, seed=9) * 3
    network = PlaceGaussians(places=4, width=3, top=0.5)
    network.learn(healthy.split(25))
    found = network.distances(images)
    known = healthy.double().numpy()
    covariances = [np.cov(known[:, place].T, ddof=0) for place in range(4)]
    ridge = 0.01 * np.mean([np.diag(covariance) for covariance in covariances])
    for place, covariance in enumerate(covariances):
        precision = np.linalg.inv(covariance + ridge * np.eye(3))
        expected = [mahalanobis(row, known[:, place].mean(0), precision) for row in images[:, place].double().numpy()]
        np.testing.assert_allclose(found[:, place].numpy(), expected, rtol=1e-3)
    torch.testing.assert_close(network(images), found.sort(1).values[:, 2:].mean(1))


@pytest.mark.parametrize(("top", "counted"), [(1.0, 16), (0.25, 4), (1e-9, 1)])
def test_the_worst_places_count(top: float, counted: int) -> None:
    network = PlaceGaussians(16, 2, top)
    patches = torch.zeros(1, 16, 2)
    patches[0, 5, 0] = 3.0
    assert network(patches).item() == pytest.approx(3 / counted)


def test_places_that_never_differ_are_no_infinity() -> None:
    network = PlaceGaussians(2, 3, 1.0)
    network.learn([torch.ones(4, 2, 3)])
    assert torch.isfinite(network(torch.stack([torch.ones(2, 3), torch.zeros(2, 3)]))).all()


# PatchCore


def coreset_by_brute_force(vectors: Floats, number: int) -> list[int]:
    apart = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    chosen = [int(np.linalg.norm(vectors - vectors.mean(0), axis=1).argmax())]
    while len(chosen) < number:
        chosen.append(int(apart[:, chosen].min(1).argmax()))
    return chosen


@pytest.mark.parametrize("number", [1, 2, 25])
def test_a_coreset_is_chosen_as_brute_force_would(number: int) -> None:
    vectors = drawn(120, 5) @ drawn(5, 5, seed=1)
    assert coreset(vectors, number).tolist() == coreset_by_brute_force(vectors.double().numpy(), number)


def test_a_coreset_takes_one_of_each_heap_and_no_vector_twice() -> None:
    heaps = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    vectors = heaps.repeat_interleave(30, 0) + 0.01 * drawn(90, 2)
    assert sorted((coreset(vectors, 3) // 30).tolist()) == [0, 1, 2]
    assert sorted(coreset(torch.ones(7, 2), 7).tolist()) == list(range(7))


def test_a_projection_keeps_distances_nearly() -> None:
    torch.manual_seed(0)
    vectors = drawn(50, 300)
    found = projected(vectors)
    assert found.shape == (50, 32)
    ratios = torch.pdist(found) / torch.pdist(vectors)
    assert 0.9 < ratios.mean() < 1.1
    assert ratios.std() < 0.2
    torch.testing.assert_close(projected(vectors[:, :20]), vectors[:, :20])


@pytest.mark.parametrize("number", [1, 40, 1100])  # the last is compared in three chunks
def test_a_bank_measures_as_brute_force_would(number: int) -> None:
    bank, images = drawn(number, 6), 1.5 * drawn(4, 10, 6, seed=1)
    network = MemoryBank(7, 6, top=0.3)
    network.learn(bank)
    apart = torch.cdist(images.double(), bank.double()).amin(2)
    torch.testing.assert_close(network(images).double(), apart.sort(1).values[:, 7:].mean(1))


def test_the_worst_patch_can_stand_alone() -> None:
    network = MemoryBank(3, 2, top=1e-9)
    network.learn(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    patches = torch.tensor([[[0.0, 0.0], [5.0, 1.0], [0.0, 3.0], [2.0, 0.0]]])
    assert network(patches).item() == pytest.approx(3.0)


def test_a_patch_of_the_bank_is_at_no_distance_however_large_the_numbers() -> None:
    bank = 100 + drawn(600, 8)
    network = MemoryBank(600, 8, top=1.0)
    network.learn(bank)
    assert (network(bank.view(120, 5, 8)) == 0).all()


@pytest.mark.parametrize("size", [1, 30])
def test_a_bank_is_loaded_however_large(size: int) -> None:
    learned, fresh = MemoryBank(2, 3, 0.4), MemoryBank(2, 3, 0.4)
    learned.learn(drawn(size, 3))
    fresh.load_state_dict(learned.state_dict())
    asked = drawn(4, 5, 3, seed=1)
    assert torch.equal(fresh(asked), learned(asked))
