import numpy as np
import pytest
import torch

from medscreen.detectors.shared.losses import cross_entropy, log_probabilities, mixed, smoothed

ONES = torch.ones(2)


def shares_of(classes: list[int], number: int) -> torch.Tensor:
    return torch.eye(number)[classes]


def test_one_logit_is_the_log_odds_of_the_second_class() -> None:
    logits = torch.tensor([[-3.0], [0.0], [2.0], [90.0]])
    odds = 1 / (1 + np.exp(-logits.numpy().astype(np.float64)))
    found = log_probabilities(logits).numpy()
    np.testing.assert_allclose(found[:, 1:], np.log(odds), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(found[:3, :1], np.log(1 - odds[:3]), rtol=1e-5)
    assert found[3, 0] == pytest.approx(-90)


def test_without_weights_or_gamma_it_is_torchs_cross_entropy() -> None:
    logits, classes = torch.randn(7, 4), [0, 1, 2, 3, 3, 0, 1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(classes))
    torch.testing.assert_close(cross_entropy(logits, shares_of(classes, 4), torch.ones(4), 0.0), expected)
    odds = torch.randn(5, 1)
    binary = torch.nn.functional.binary_cross_entropy_with_logits(odds[:, 0], torch.tensor([0.0, 1, 1, 0, 1]))
    torch.testing.assert_close(cross_entropy(odds, shares_of([0, 1, 1, 0, 1], 2), ONES, 0.0), binary)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_by_its_definition(gamma: float) -> None:
    logits = np.array([[0.3, -1.0, 2.0], [1.5, 0.1, 0.0]])
    shares = np.array([[0.0, 0.25, 0.75], [1.0, 0.0, 0.0]])
    weights = np.array([0.5, 2.0, 3.0])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -(weights * shares * (1 - p) ** gamma * np.log(p)).sum(1).mean()
    tensors = (torch.from_numpy(array).float() for array in (logits, shares, weights))
    assert cross_entropy(*tensors, gamma).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_very_sure_images_have_finite_slopes(gamma: float) -> None:
    logits = torch.tensor([[200.0], [-200.0], [30.0], [0.0]], requires_grad=True)
    cross_entropy(logits, shares_of([1, 1, 1, 0], 2), ONES, gamma).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1] < 0 < logits.grad[3]


def test_smoothed_shares_still_add_up() -> None:
    np.testing.assert_allclose(smoothed(shares_of([0, 1], 2), 0.1), [[0.95, 0.05], [0.05, 0.95]])
    np.testing.assert_allclose(smoothed(shares_of([2], 4), 0.2), [[0.05, 0.05, 0.85, 0.05]])
    np.testing.assert_allclose(smoothed(torch.tensor([[0.3, 0.7]]), 0.0), [[0.3, 0.7]])


def test_images_are_mixed_by_the_same_part_as_their_shares() -> None:
    torch.manual_seed(3)
    numbers = torch.arange(40.0)
    images = numbers.view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    result, shares = mixed(images, torch.eye(40), alpha=1.0)
    # with a class of its own for each image, the shares tell who was mixed with whom
    torch.testing.assert_close(result, (shares @ numbers).view(-1, 1, 1, 1).expand(-1, 1, 3, 3))
    torch.testing.assert_close(shares.sum(1), torch.ones(40))
    others = shares - torch.diag(shares.diagonal())
    assert ((others > 0).sum(1) <= 1).all()
    assert len(set(shares.diagonal().tolist())) > 30


@pytest.mark.parametrize(("alpha", "spread"), [(0.2, 0.423), (1.0, 0.289), (8.0, 0.121)])
def test_parts_follow_the_beta_distribution(alpha: float, spread: float) -> None:
    torch.manual_seed(3)
    classes = torch.eye(2)[torch.arange(4000) % 2]
    parts = mixed(torch.zeros(4000, 1, 1, 1), classes, alpha)[1][:, 0]
    unmixed = (parts == 0) | (parts == 1)
    # half of the pairs are of one class: whatever their part, they show none
    assert 0.4 < unmixed.float().mean() < 0.75
    shown = parts[~unmixed]
    if alpha >= 1:
        assert shown.std().item() == pytest.approx(spread, rel=0.1)
    assert shown.mean().item() == pytest.approx(0.5, abs=0.03)
