from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.entry import TrainingParams
from medscreen.detectors.shared.ema import ExponentialMovingAverage
from medscreen.detectors.shared.training import Examples, Recipe, fit_network, seeded
from medscreen.errors import MedscreenError

COMPUTE = ComputeParams(threads=1, device="cpu")
ZEROS = Examples(torch.zeros(10, 1, 4, 4), torch.zeros(10))


class Constant(nn.Module):
    """One number, whatever it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.tensor(1.0))


def recipe(epochs: int, patience: int, seed: int = 1, average: float = 0.0, **further: Any) -> Recipe:
    training = TrainingParams(
        epochs=epochs,
        batch_size=4,
        optimizer="adamw",
        learning_rate=0.1,
        weight_decay=0.0,
        ema_decay=average,
        patience=patience,
    )
    return Recipe(training, COMPUTE, seed, **further)


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


def nothing(epoch: int, terms: Mapping[str, float]) -> None:
    pass


class Normed(nn.Module):
    """A weight of four dimensions and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.scale(images)).mean((1, 2, 3))


def test_an_average_by_hand() -> None:
    network = Constant()
    average = ExponentialMovingAverage(network, 0.25)
    expected = 1.0
    for updates, number in enumerate([5.0, 7.0, -2.0, 0.0], start=1):
        network.number.data.fill_(number)
        average.update()
        decay = min(0.25, (1 + updates) / (10 + updates))
        expected = decay * expected + (1 - decay) * number
    with average.applied():
        assert network.number.item() == pytest.approx(expected)
    assert network.number.item() == 0.0


def test_an_average_without_decay_is_the_network() -> None:
    network = Constant()
    average = ExponentialMovingAverage(network, 0.0)
    network.number.data.fill_(4.0)
    average.update()
    with average.applied():
        assert network.number.item() == 4.0
    assert network.number.item() == 4.0


def test_statistics_of_batch_norms_are_averaged_too_and_counts_are_not() -> None:
    network = Normed().train()
    average = ExponentialMovingAverage(network, 0.5)
    network(torch.full((4, 1, 5, 5), 3.0))
    statistics = network.norm.running_mean.clone()
    average.update()
    with average.applied():
        torch.testing.assert_close(network.norm.running_mean, statistics * (1 - 2 / 11))
        assert network.norm.num_batches_tracked == 1


def test_the_average_is_judged_and_kept_and_training_goes_on_without_it() -> None:
    network, trained, judged = Constant(), [], []

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        (trained if network.training else judged).append(network.number.item())
        return {"loss": (network.number - 10) ** 2}

    fit_network(network, loss, ZEROS, ZEROS, recipe(2, patience=2, average=0.9), nothing)
    assert trained[0] == 1.0
    expected = 1.0
    # what an epoch's first step sees is what the last step of the one before has left: no average in between
    for step, number in enumerate(trained[1:4], start=1):
        expected += (1 - min(0.9, (1 + step) / (10 + step))) * (number - expected)
    assert judged[0] == pytest.approx(expected)
    assert trained[3] > judged[0]
    assert network.number.item() == judged[1]


def test_images_are_augmented_then_mixed_with_their_labels_and_tune_is_left_alone() -> None:
    network, seen = Constant(), {True: [], False: []}
    examples = Examples(torch.ones(8, 1, 4, 4), torch.ones(8))

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        seen[network.training].append((images.mean().item(), labels.mean().item()))
        return {"loss": network.number**2}

    changes = {"augment": lambda images: images + 1, "mix": lambda images, labels: (images * 10, labels * 5)}
    fit_network(network, loss, examples, examples, recipe(1, patience=1, **changes), nothing)
    assert set(seen[True]) == {(20.0, 5.0)}
    assert seen[False] == [(1.0, 1.0)]


def test_an_epoch_has_the_images_that_its_order_names() -> None:
    network, seen = Constant(), []

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if network.training:
            seen.extend(labels.tolist())
        return {"loss": network.number**2}

    labelled = Examples(ZEROS.images, torch.arange(10.0))
    order = torch.tensor([3, 3, 3, 1, 2, 2, 9, 9, 9, 9])
    fit_network(network, loss, labelled, labelled, recipe(1, patience=1, order=lambda _: order), nothing)
    assert seen == order.tolist()


def test_groups_learn_at_their_share_and_what_is_in_none_stays() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fast, self.slow, self.still = (nn.Parameter(torch.zeros(1)) for _ in range(3))

    network = Three()

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": (network.fast + network.slow + network.still - 100).square().sum()}

    shares = recipe(1, patience=1, groups=lambda n: [([n.fast], 1.0), ([n.slow], 0.25)])
    fit_network(network, loss, ZEROS, ZEROS, shares, nothing)
    assert network.still.item() == 0.0
    # with a gradient that hardly changes, Adam's steps are the learning rate
    assert network.slow.item() / network.fast.item() == pytest.approx(0.25, rel=1e-3)
    assert network.fast.item() > 0.05


def test_weights_that_want_no_gradient_do_not_decay() -> None:
    network = Normed()
    network.scale.requires_grad_(False)
    before = network.scale.weight.clone()
    training = TrainingParams(
        epochs=2, batch_size=4, optimizer="adamw", learning_rate=0.1, weight_decay=0.5, ema_decay=0.9, patience=2
    )

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": (network(images) - 3).square().mean()}

    examples = Examples(torch.rand(8, 1, 6, 6), torch.zeros(8))
    fit_network(network, loss, examples, examples, Recipe(training, COMPUTE, 1), nothing)
    np.testing.assert_array_equal(network.scale.weight.numpy(), before.numpy())
    assert network.scale.weight.is_contiguous()
    assert network.norm.bias.abs().max() > 0.05


@pytest.mark.parametrize(("decay", "shrinks"), [(0.0, False), (1.0, True)])
def test_weights_decay_as_the_training_says(decay: float, shrinks: bool) -> None:
    network = Constant()
    training = recipe(5, patience=5).training.model_copy(update={"weight_decay": decay})
    reported: list[float] = []

    def loss(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"loss": 0 * network.number}

    def on_epoch(epoch: int, terms: Mapping[str, float]) -> None:
        reported.append(network.number.item())

    fit_network(network, loss, ZEROS, ZEROS, Recipe(training, COMPUTE, 1), on_epoch)
    assert (reported[-1] < 0.8) == shrinks
    assert (reported[-1] == 1.0) != shrinks
