from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from torch import nn

from factories import image_set, one_sentence
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.data.images import ImageSet
from medscreen.detectors.autoencoder import detector as reconstruction
from medscreen.detectors.autoencoder.elbo import elbo_terms
from medscreen.detectors.autoencoder.local_residual import StandardizedLocalResidual
from medscreen.detectors.autoencoder.residual_scores import RESIDUALS, ResidualName, TopFractionResidual
from medscreen.detectors.build import build
from medscreen.detectors.shared.augmentation import pose_films
from medscreen.detectors.shared.layers.pooling import mean_of_top
from medscreen.detectors.shared.layers.ssim import structural_similarity
from medscreen.detectors.shared.layers.standardization import Standardized, standardized_gray
from medscreen.errors import MedscreenError
from tiny_detectors import LAYERS, TRAINING

Floats = NDArray[np.float64]
COMPUTE = ComputeParams(threads=1, device="cpu")
ENTRY: dict[str, Any] = {
    "kind": "autoencoder", "variant": "plain", "layers": LAYERS, "bottleneck": 4, "pose": 0.0, "noise": 0.0,
    "standardize": False,
    "score": "mse",
    "top_fraction": 1.0, "training": TRAINING,
}  # fmt: skip


def params_of(**changes: Any) -> DetectorParams:
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(ENTRY | changes)
    return params


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


def residual_by_numpy(name: str, a: Floats, b: Floats) -> Floats:
    if name == "bce":
        return -(a * np.log(b) + (1 - a) * np.log(1 - b))
    if name == "gradient":
        return sum(np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis))[: len(a) - 1, : len(a) - 1] for axis in (0, 1))
    return (a - b) ** 2 if name == "mse" else np.abs(a - b)


@pytest.mark.parametrize("name", ["mse", "l1", "bce", "gradient"])
def test_a_residual_agrees_with_its_definition(name: ResidualName) -> None:
    a, b = np.random.default_rng(3).uniform(0.01, 0.99, (2, 12, 12))
    found = RESIDUALS[name](tensor(a), tensor(b))
    np.testing.assert_allclose(found[0, 0].numpy(), residual_by_numpy(name, a, b), rtol=1e-4, atol=1e-6)


def test_the_cross_entropy_of_black_drawn_white_is_finite() -> None:
    assert torch.isfinite(RESIDUALS["bce"](torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))).all()


def test_a_score_is_the_mean_of_the_worst_places() -> None:
    image = torch.full((1, 1, 10, 10), 0.5)
    image[0, 0, 2, 3:7] = torch.tensor([0.6, 0.7, 0.8, 0.9])
    grey = nn.Threshold(2.0, 0.5)  # draws mid-grey, whatever it sees
    assert TopFractionResidual(grey, "l1", 0.03)(image).item() == pytest.approx(0.3)
    assert TopFractionResidual(grey, "l1", 1.0)(image).item() == pytest.approx(0.01)
    assert TopFractionResidual(grey, "mse", 0.02)(image).item() == pytest.approx((0.09 + 0.16) / 2)
    assert TopFractionResidual(grey, "ssim", 1.0)(image).item() == pytest.approx(
        1 - ssim_by_windows(image[0, 0].numpy().astype(np.float64), np.full((10, 10), 0.5)), abs=1e-3
    )


@pytest.mark.parametrize(("share", "number"), [(0.02, 6), (0.5, 162), (1.0, 324), (1e-9, 1)])
def test_the_top_is_a_share_of_all_values(share: float, number: int) -> None:
    maps = torch.randn(3, 1, 18, 18)
    expected = np.sort(maps.flatten(1).numpy())[:, -number:].mean(1)
    np.testing.assert_allclose(mean_of_top(maps, share).numpy(), expected, atol=1e-5)


def test_standardized_grey_is_the_same_at_any_exposure() -> None:
    images = torch.rand(4, 1, 16, 16)
    found = standardized_gray(images)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.full((4,), 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((1, 2, 3)), torch.full((4,), 0.2), atol=2e-3, rtol=0)
    torch.testing.assert_close(standardized_gray(0.4 * images + 0.3), found, atol=5e-3, rtol=0)
    outlier = torch.zeros(1, 1, 16, 16)
    outlier[0, 0, 0, 0] = 1.0
    assert standardized_gray(outlier).max() == 1.0
    assert standardized_gray(-outlier).min() == 0.0
    network = Standardized(nn.Conv2d(1, 2, 3))
    torch.testing.assert_close(network(images), network.network(found))


def test_what_is_standardized_is_trained_on_standardized_images() -> None:
    entry = params_of(standardize=True, score="local", top_fraction=0.5)
    train, tune = image_set(40, 16, 1), image_set(20, 16, 2)
    detector = build(entry, 16, COMPUTE, 7).fit(train, tune)
    assert isinstance(detector.network, Standardized)
    scorer = detector.network.network
    assert isinstance(scorer, StandardizedLocalResidual)
    seen = standardized_gray(torch.from_numpy(train.healthy().pixels)[:, None] / 255)
    with torch.no_grad():
        torch.testing.assert_close(scorer.residuals(seen).mean(0), scorer.usual, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"score": "elbo"}, "elbo needs variant: variational; a plain autoencoder has no distribution of codes"),
        (
            {"kind": "autoencoder", "variant": "variational", "beta": 1.0, "score": "elbo", "top_fraction": 0.5},
            "set top_fraction to 1.0",
        ),
        ({"layers": LAYERS | {"strides": [2]}}, "down has 2 layers and strides 1"),
        ({"layers": LAYERS | {"output_kernel": None}}, "the last number of up has to be 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        params_of(**changes)


def test_an_image_too_small_for_its_layers_is_a_sentence() -> None:
    entry = params_of(layers=LAYERS | {"down": [2] * 5, "strides": [2] * 5})
    build(entry, 32, COMPUTE, 7)
    with pytest.raises(MedscreenError, match="31 pixels") as error:
        build(entry, 31, COMPUTE, 7)
    assert "layers.strides" in one_sentence(error)


def test_a_vae_reports_both_terms_of_its_loss() -> None:
    entry = params_of(kind="autoencoder", variant="variational", beta=0.5, score="elbo")
    terms: list[dict[str, float]] = []
    detector = build(entry, 16, COMPUTE, 7)
    detector.fit(image_set(40, 16, 1), image_set(20, 16, 2), lambda _, term: terms.append(dict(term)))
    for term in terms:
        for split in ("train", "tune"):
            total = term[f"{split}_cross_entropy"] + 0.5 * term[f"{split}_divergence"]
            assert term[f"{split}_loss"] == pytest.approx(total, rel=1e-5)


def scored(network: StandardizedLocalResidual, images: torch.Tensor) -> Floats:
    with torch.no_grad():
        scores: Floats = network.eval()(images).numpy()
    return scores


def test_a_perfect_reconstruction_scores_0() -> None:
    found = scored(StandardizedLocalResidual(torch.nn.Identity(), 16, top=0.1), torch.rand(3, 1, 16, 16))
    np.testing.assert_allclose(found, 0, atol=1e-5)


def test_a_bright_spot_of_a_grey_image_by_hand() -> None:
    blank = StandardizedLocalResidual(
        torch.nn.Threshold(2.0, 0.5), 16, top=1e-9
    )  # draws mid-grey; one place alone counts
    image = torch.full((1, 1, 16, 16), 0.5)
    image[0, 0, 6:11, 6:11] = 0.8
    window = image[0, 0, 5:12, 5:12].numpy().astype(np.float64)  # the 7 x 7 window around the 5 x 5 spot
    place = 1 - ssim_by_windows(window, np.full((7, 7), 0.5)) + 0.3
    assert scored(blank, image)[0] == pytest.approx(place, abs=1e-3)


def test_surprise_is_in_units_of_what_is_usual_at_a_place() -> None:
    network = StandardizedLocalResidual(torch.nn.Threshold(2.0, 0.5), 16, top=1.0)
    healthy = torch.rand(200, 1, 16, 16)
    with torch.no_grad():
        network.learn_usual(network.residuals(healthy))
    assert abs(scored(network, healthy).mean()) < 1e-3
    assert network.usual.shape == network.spread.shape == (2, 10, 10)


def test_where_nothing_ever_happens_a_trifle_is_no_infinity() -> None:
    network = StandardizedLocalResidual(torch.nn.Threshold(2.0, 0.5), 16, top=0.01)
    healthy = torch.rand(50, 1, 16, 16)
    healthy[:, :, :8] = 0.5
    with torch.no_grad():
        network.learn_usual(network.residuals(healthy))
    trifle = healthy[:1].clone()
    trifle[0, 0, 3, 3] += 0.004  # one grey level
    assert scored(network, trifle)[0] - scored(network, healthy[:1])[0] < 1


class Asked(NamedTuple):
    """What the optimiser loop was asked to do."""

    network: Any
    loss: Any
    train: Any
    tune: Any
    recipe: Any


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Grows by each training that is asked for and not done."""
    found: list[Asked] = []
    monkeypatch.setattr(reconstruction, "fit_network", lambda *a: found.append(Asked(*a[:5])))
    return found


def grey(images: ImageSet) -> torch.Tensor:
    return torch.from_numpy(images.healthy().pixels)[:, None] / 255


@pytest.mark.parametrize("standardize", [False, True])
def test_healthy_images_alone_are_learned_from_and_say_when_to_stop(asked: list[Asked], standardize: bool) -> None:
    train, tune = image_set(40, 16, 1), image_set(20, 16, 2)
    build(params_of(standardize=standardize), 16, COMPUTE, 7).fit(train, tune)
    (one,) = asked
    torch.testing.assert_close(one.train.images, grey(train))
    torch.testing.assert_close(one.tune.images, standardized_gray(grey(tune)) if standardize else grey(tune))
    assert one.recipe.seed == 7


@pytest.mark.parametrize("pose", [0.0, 0.5])
def test_images_are_placed_otherwise_if_the_settings_say_so(asked: list[Asked], pose: float) -> None:
    train = image_set(40, 16, 1)
    build(params_of(pose=pose), 16, COMPUTE, 7).fit(train, train)
    images = grey(train)
    torch.manual_seed(3)
    found = asked[0].recipe.augment(images)
    torch.manual_seed(3)
    torch.testing.assert_close(found, pose_films(images, pose))
    assert torch.equal(found, images) == (pose == 0)


def test_a_vae_counts_its_divergence_as_often_as_beta_says() -> None:
    network = build(
        params_of(kind="autoencoder", variant="variational", beta=3.0, score="elbo"), 16, COMPUTE, 7
    ).network
    images = grey(image_set(8, 16, 1))
    with torch.no_grad():
        entropy, divergence = elbo_terms(network.autoencoder, images, images)
        torch.testing.assert_close(network(images), entropy + 3 * divergence)
    assert float(divergence.min()) > 0
