import numpy as np
import pytest
import torch
from scipy.stats import entropy

from factories import image_set
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.statistic import StatisticParams
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import score
from medscreen.detectors.statistic.networks import (
    STATISTICS,
    HealthyDistance,
    StatisticName,
    gradient_energy,
    gray_entropy,
    mean_gradient,
)

SMALL = torch.tensor([[0.0, 0.2, 0.2], [0.4, 0.2, 0.9], [0.4, 0.2, 0.9]])[None, None]


def test_the_gradient_by_hand() -> None:
    down = (0.4 + 0.0 + 0.7 + 0 + 0 + 0) / 6
    across = (0.2 + 0.0 + 0.2 + 0.7 + 0.2 + 0.7) / 6
    assert mean_gradient(SMALL).item() == pytest.approx(down + across)


def test_the_energy_by_hand() -> None:
    down = (0.16 + 0.0 + 0.49) / 6
    across = (0.04 + 0.0 + 0.04 + 0.49 + 0.04 + 0.49) / 6
    assert gradient_energy(SMALL).item() == pytest.approx(down + across)


def test_the_entropy_is_that_of_the_grey_levels() -> None:
    grey = np.random.default_rng(1).binomial(255, 0.5, (5, 20, 20))
    expected = [entropy(np.bincount(image.ravel()), base=2) for image in grey]
    found = gray_entropy(torch.from_numpy(grey[:, None] / 255).float())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_the_entropy_of_even_images_is_0_and_of_all_levels_8() -> None:
    images = torch.stack([torch.full((16, 16), 0.3), torch.arange(256.0).view(16, 16) / 255])[:, None]
    np.testing.assert_allclose(gray_entropy(images).numpy(), [0, 8], atol=1e-6)


def test_each_pixel_is_counted_at_the_nearest_level() -> None:
    two = torch.full((1, 1, 2, 2), 100 / 255)
    two[0, 0, 0] += 0.4 / 255
    assert gray_entropy(two).item() == 0
    two[0, 0, 0] += 0.2 / 255
    assert gray_entropy(two).item() == pytest.approx(1)
    assert gray_entropy(torch.tensor([-0.5, 0.0, 1.0, 1.5]).view(1, 1, 2, 2)).item() == pytest.approx(1)


@pytest.mark.parametrize("name", STATISTICS)
def test_the_distance_counts_on_either_side(name: StatisticName) -> None:
    network = HealthyDistance(name)
    value = STATISTICS[name](SMALL).item()
    assert network(SMALL).item() == pytest.approx(value)
    network.healthy_median.fill_(value + 0.7)
    assert network(SMALL).item() == pytest.approx(0.7, abs=1e-6)
    network.healthy_median.fill_(value - 0.2)
    assert network(SMALL).item() == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("intensity", 0.4), ("gradient", 0.0), ("entropy", 0.0)])
def test_the_median_is_that_of_the_healthy_images_of_train(name: StatisticName, expected: float) -> None:
    drawn = image_set(10, 16, 1)
    # even images: the healthy ones at .2, .3, .4, .5 and .9, the abnormal ones noisy and bright
    pixels = np.random.default_rng(1).integers(200, 255, (10, 16, 16)).astype(np.uint8)
    pixels[::2] = (np.array([0.9, 0.2, 0.5, 0.3, 0.4]) * 255).round().astype(np.uint8)[:, None, None]
    train = ImageSet(pixels, drawn.labels, drawn.patients, drawn.origins, drawn.digests, drawn.attributes)
    params = StatisticParams(kind="statistic", variant=name)
    detector = build(params, 16, ComputeParams(threads=1, device="cpu"), 7).fit(train, drawn)
    assert params.is_baseline
    assert detector.network.state_dict()["healthy_median"].item() == pytest.approx(expected, abs=0.003)
    assert score(detector, pixels)[::2].min() == pytest.approx(0, abs=1e-6)
