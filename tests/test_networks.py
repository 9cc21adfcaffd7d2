import numpy as np
import pytest
import torch

from medscreen.detectors.shared.layers.abnormal_logit import AnyFindingLogit
from medscreen.detectors.shared.layers.pooling import soft_maximum
from medscreen.detectors.shared.layers.residual_network import ResidualClassifier
from medscreen.detectors.shared.layers.standardization import standardized


@pytest.mark.parametrize(("size", "unshuffle"), [(16, 1), (16, 2), (28, 2), (33, 3), (64, 4)])
def test_a_classifier_gives_its_logits_for_each_image(size: int, unshuffle: int) -> None:
    network = ResidualClassifier(width=2, unshuffle=unshuffle, pooling="mean_and_peak", outputs=3).eval()
    assert network(torch.rand(5, 1, size, size)).shape == (5, 3)
    assert network(torch.rand(1, 1, size, size)).shape == (1, 3)


def test_the_odds_of_any_finding_by_hand() -> None:
    logits = torch.tensor([[1.0, 0.5, -2.0], [0.0, 0.0, 0.0]])
    scores, probabilities = AnyFindingLogit(torch.nn.Identity())(logits)
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
    network = ResidualClassifier(width=2, unshuffle=2, pooling="mean", outputs=1).eval()
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(images), network(0.5 * images + 0.3), atol=5e-3, rtol=0)


def test_standardized_images_have_mean_0_and_deviation_1() -> None:
    images = torch.rand(4, 1, 16, 16) * torch.tensor([1.0, 0.5, 0.8, 0.3]).view(-1, 1, 1, 1)
    result = standardized(images)
    torch.testing.assert_close(result.mean((1, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std((1, 2, 3)), torch.ones(4), atol=0.02, rtol=0)
    assert torch.isfinite(standardized(torch.full((1, 1, 8, 8), 0.7))).all()


def test_the_peak_is_pooled_only_where_it_is_asked_for() -> None:
    mean, both = (ResidualClassifier(width=2, unshuffle=2, pooling=p, outputs=3) for p in ("mean", "mean_and_peak"))
    assert (mean.head.in_features, both.head.in_features) == (8, 16)
    both.load_state_dict(mean.state_dict() | {"head.weight": torch.cat([mean.head.weight, torch.zeros(3, 8)], 1)})
    images = torch.rand(4, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(mean.eval()(images), both.eval()(images))
