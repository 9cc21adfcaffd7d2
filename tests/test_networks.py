import numpy as np
import pytest
import torch
from medscreen.detectors.networks.gradients import GradientDistance
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from medscreen.detectors.networks.autoencoders import Autoencoder
from medscreen.detectors.networks.odds import OddsOfAnyFinding
from medscreen.detectors.networks.pooling import soft_maximum
from medscreen.detectors.networks.residual import ResidualClassifier
from medscreen.detectors.networks.similarity import structural_similarity
from medscreen.detectors.networks.standardisation import standardised
from medscreen.detectors.networks.surprise import LocalSurprise

Floats = NDArray[np.float64]


def ssim_by_windows(a: Floats, b: Floats, window: int = 7) -> float:
    first, second = (sliding_window_view(image, (window, window)).reshape(-1, window * window) for image in (a, b))
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for x, y in zip(first, second, strict=True):
        covariance = np.cov(x, y)
        numerator = (2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)
        denominator = (x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)
        values.append(numerator / denominator)
    return float(np.mean(values))


def pair(seed: int, noise: float, size: int = 20) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    a = rng.random((size, size))
    return a, np.clip(a + rng.normal(0, noise, (size, size)), 0, 1)


def tensor(*images: Floats) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)[:, None].astype(np.float32))


def mean_similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return structural_similarity(a, b).mean((1, 2, 3))


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
def test_similarity_agrees_with_its_definition(noise: float) -> None:
    pairs = [pair(seed, noise) for seed in range(3)]
    found = mean_similarity(tensor(*(a for a, _ in pairs)), tensor(*(b for _, b in pairs)))
    np.testing.assert_allclose(found.numpy(), [ssim_by_windows(a, b) for a, b in pairs], atol=1e-4)


def test_similarity_of_smooth_images_agrees_with_its_definition() -> None:
    y, x = np.mgrid[:24, :24] / 24
    a, b = 0.5 + 0.3 * np.sin(3 * x), 0.5 + 0.3 * np.sin(3 * x + 0.3 * y)
    found = mean_similarity(tensor(a), tensor(b))
    np.testing.assert_allclose(found.numpy(), [ssim_by_windows(a, b)], atol=1e-3)


def test_similarity_of_faint_images_agrees_with_its_definition() -> None:
    # here the constants weigh as much as the variances, and these must be the unbiased ones
    rng = np.random.default_rng(4)
    a, b = 0.5 + 0.03 * rng.standard_normal((2, 20, 20))
    found = mean_similarity(tensor(a), tensor(b))
    np.testing.assert_allclose(found.numpy(), [ssim_by_windows(a, b)], atol=2e-4)


def test_equal_images_have_similarity_one() -> None:
    a = tensor(pair(1, 0)[0], np.zeros((20, 20)), np.ones((20, 20)))
    np.testing.assert_allclose(structural_similarity(a, a).numpy(), 1, atol=1e-5)


def test_similarity_is_symmetric_and_at_most_one() -> None:
    a, b = (tensor(image) for image in pair(2, 0.4))
    torch.testing.assert_close(structural_similarity(a, b), structural_similarity(b, a))
    assert mean_similarity(a, b).item() < 1
    assert mean_similarity(a, 1 - a).item() < 0


@pytest.mark.parametrize("size", [16, 28, 33, 64, 128])
def test_an_autoencoder_redraws_at_the_images_size(size: int) -> None:
    torch.manual_seed(0)
    network = Autoencoder(size, width=2, bottleneck=3).eval()
    with torch.no_grad():
        drawn = network(torch.rand(2, 1, size, size))
    assert drawn.shape == (2, 1, size, size)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize("size", [16, 33, 64])
def test_all_that_an_autoencoder_keeps_passes_its_bottleneck(size: int) -> None:
    network = Autoencoder(size, width=2, bottleneck=3)
    assert network.squeeze.out_features == network.expand.in_features == 3
    assert max(network.smallest[1:]) <= 8
    torch.nn.init.zeros_(network.squeeze.weight)
    with torch.no_grad():
        first, second = network.eval()(torch.rand(2, 1, size, size))
    torch.testing.assert_close(first, second)


def surprised(network: LocalSurprise, images: torch.Tensor) -> Floats:
    with torch.no_grad():
        scores: Floats = network.eval()(images).numpy()
    return scores


def test_nothing_surprises_who_redraws_everything() -> None:
    found = surprised(LocalSurprise(torch.nn.Identity(), 16, top=0.1), torch.rand(3, 1, 16, 16))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_a_bright_spot_of_a_grey_image_by_hand() -> None:
    blank = LocalSurprise(torch.nn.Threshold(2.0, 0.5), 16, top=1e-9)  # draws mid-grey; one place alone counts
    image = torch.full((1, 1, 16, 16), 0.5)
    image[0, 0, 6:11, 6:11] = 0.8
    window = image[0, 0, 5:12, 5:12].numpy().astype(np.float64)  # the 7 x 7 window around the 5 x 5 spot
    place = 1 - ssim_by_windows(window, np.full((7, 7), 0.5)) + 0.3
    assert surprised(blank, image)[0] == pytest.approx(place, abs=1e-3)


def test_surprise_is_in_units_of_what_is_usual_at_a_place() -> None:
    network = LocalSurprise(torch.nn.Threshold(2.0, 0.5), 16, top=1.0)
    healthy = torch.rand(200, 1, 16, 16)
    with torch.no_grad():
        network.learn_usual(network.residuals(healthy))
    assert abs(surprised(network, healthy).mean()) < 1e-3
    assert network.usual.shape == network.spread.shape == (2, 10, 10)


def test_where_nothing_ever_happens_a_trifle_is_no_infinity() -> None:
    network = LocalSurprise(torch.nn.Threshold(2.0, 0.5), 16, top=0.01)
    healthy = torch.rand(50, 1, 16, 16)
    healthy[:, :, :8] = 0.5
    with torch.no_grad():
        network.learn_usual(network.residuals(healthy))
    trifle = healthy[:1].clone()
    trifle[0, 0, 3, 3] += 0.004  # one grey level
    assert surprised(network, trifle)[0] - surprised(network, healthy[:1])[0] < 1


@pytest.mark.parametrize(("top", "places"), [(0.02, 6), (1.0, 324), (1e-9, 1)])
def test_the_worst_places_are_a_share_of_all(top: float, places: int) -> None:
    assert LocalSurprise(torch.nn.Identity(), 24, top).places == places


def test_the_gradient_by_hand() -> None:
    image = torch.tensor([[0.0, 0.2, 0.2], [0.4, 0.2, 0.9], [0.4, 0.2, 0.9]])[None, None]
    down = (0.4 + 0.0 + 0.7 + 0 + 0 + 0) / 6
    across = (0.2 + 0.0 + 0.2 + 0.7 + 0.2 + 0.7) / 6
    network = GradientDistance()
    assert network.gradient(image).item() == pytest.approx(down + across)
    network.healthy_median.fill_(1.0)
    assert network(image).item() == pytest.approx(1.0 - down - across)
    network.healthy_median.fill_(0.1)
    assert network(image).item() == pytest.approx(down + across - 0.1)


@pytest.mark.parametrize(("size", "unshuffle"), [(16, 1), (16, 2), (28, 2), (33, 3), (64, 4)])
def test_a_classifier_gives_its_logits_for_each_image(size: int, unshuffle: int) -> None:
    network = ResidualClassifier(width=2, unshuffle=unshuffle, outputs=3).eval()
    assert network(torch.rand(5, 1, size, size)).shape == (5, 3)
    assert network(torch.rand(1, 1, size, size)).shape == (1, 3)


def test_the_odds_of_any_finding_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.5, -2.0], [0.0, 0.0, 0.0]])
    scores, probabilities = OddsOfAnyFinding(torch.nn.Identity())(logits)
    weights = np.exp(logits.numpy())
    shares = weights / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities.numpy(), shares, rtol=1e-5)
    np.testing.assert_allclose(scores.numpy(), np.log((1 - shares[:, 0]) / shares[:, 0]), rtol=1e-5)


def test_a_soft_maximum_lies_between_mean_and_maximum() -> None:
    features = torch.randn(4, 3, 5, 6)
    pooled = soft_maximum(features)
    assert (pooled >= features.mean((2, 3))).all()
    assert (pooled <= features.amax((2, 3))).all()
    torch.testing.assert_close(soft_maximum(torch.full((1, 1, 4, 4), 0.7)), torch.tensor([[0.7]]))


def test_a_classifier_hardly_sees_the_exposure() -> None:
    torch.manual_seed(0)
    network = ResidualClassifier(width=2, unshuffle=2, outputs=1).eval()
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(0.5 * images + 0.3), atol=5e-3, rtol=0)


def test_standardised_images_have_mean_0_and_deviation_1() -> None:
    images = torch.rand(4, 1, 16, 16) * torch.tensor([1.0, 0.5, 0.8, 0.3]).view(-1, 1, 1, 1)
    result = standardised(images)
    torch.testing.assert_close(result.mean((1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std((1, 2, 3)), torch.ones(4), atol=0.02, rtol=0)
    assert torch.isfinite(standardised(torch.full((1, 1, 8, 8), 0.7))).all()
