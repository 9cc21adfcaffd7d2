from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from medscreen.detectors.fitting import Examples, Recipe, fit_network, seeded
from medscreen.errors import MedscreenError
from medscreen.params import ComputeParams, TrainingParams

COMPUTE = ComputeParams(threads=1, device="cpu")
ZEROS = Examples(torch.zeros(10, 1, 4, 4), torch.zeros(10))


class Constant(nn.Module):
    """One number, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(1.0))


def recipe(epochs: int, patience: int, seed: int = 1, batch_size: int = 4) -> Recipe:
    training = TrainingParams(
        epochs=epochs, batch_size=batch_size, learning_rate=0.1, weight_decay=0.0, patience=patience
    )
    return Recipe(training, COMPUTE, seed, None)


def test_the_best_epoch_on_tune_is_kept_and_patience_ends_the_rest() -> None:
    network, tuned, states = Constant(), [3.0, 1.0, 2.0, 1.0, 5.0, 0.0], []

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if network.training:
            return {"loss": (network.number + 3) ** 2}
        return {"loss": torch.tensor(tuned[len(states)])}

    fit_network(network, loss, ZEROS, ZEROS, recipe(6, patience=3), lambda *_: states.append(network.number.item()))
    assert len(states) == 5
    assert len(set(states)) == 5
    assert network.number.item() == states[1]


def order_seen(seed: int, disturb: bool) -> list[float]:
    network, seen = Constant(), []
    labelled = Examples(ZEROS.images, torch.arange(10.0))

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if network.training:
            seen.extend(labels.tolist())
        return {"loss": network.number**2}

    def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
        if disturb:
            torch.manual_seed(0)

    torch.manual_seed(int(disturb))
    fit_network(network, loss, labelled, ZEROS, recipe(3, patience=3, seed=seed), on_epoch)
    return seen


def test_every_image_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    seen = order_seen(1, disturb=False)
    epochs = [seen[i : i + 10] for i in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_the_order_derives_from_seed_and_epoch_alone() -> None:
    assert order_seen(1, disturb=False) == order_seen(1, disturb=True)
    assert order_seen(1, disturb=False) != order_seen(2, disturb=False)


def test_terms_are_means_over_images_not_batches() -> None:
    network, reported = Constant(), {}
    labelled = Examples(ZEROS.images, torch.arange(10.0))

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": labels.mean() + 0 * network.number, "extra": labels.mean() * 2}

    def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
        reported.update(terms)

    fit_network(network, loss, labelled, labelled, recipe(1, patience=1), on_epoch)
    assert reported == pytest.approx({"train_loss": 4.5, "train_extra": 9, "tune_loss": 4.5, "tune_extra": 9})


def test_a_training_that_diverges_is_a_sentence() -> None:
    network = Constant()

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": network.number * float("nan")}

    with pytest.raises(MedscreenError):
        fit_network(network, loss, ZEROS, ZEROS, recipe(2, patience=2), lambda *_: None)


def test_different_numbers_give_different_streams() -> None:
    firsts = []
    for numbers in ((1,), (2,), (1, 1), (1, 2), (2, 1)):
        seeded(*numbers)
        firsts.append(torch.rand(1).item())
    assert len(set(firsts)) == 5
    seeded(2, 1)
    assert torch.rand(1).item() == firsts[-1]
