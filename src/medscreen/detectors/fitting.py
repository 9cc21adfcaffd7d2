"""The one optimiser loop; it knows losses by their names and no model."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from medscreen.detectors.protocol import OnEpoch, as_images
from medscreen.errors import MedscreenError
from medscreen.images import ImageSet
from medscreen.params import ComputeParams, TrainingParams

Loss = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Images (N, 1, S, S) and labels (N,) to named terms; the one called `loss` is minimised."""

_BATCH_TUNE = 512


@dataclass(frozen=True)
class Examples:
    """Float images (N, 1, S, S) and labels (N,) in memory."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: ImageSet) -> "Examples":
        """All images of a set."""
        return cls(as_images(images.pixels), torch.from_numpy(images.labels.astype(np.float32)))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; `augment` changes a batch of images (N, 1, S, S), keeping its shape."""

    training: TrainingParams
    compute: ComputeParams
    seed: int
    augment: Callable[[Tensor], Tensor] | None = None


def seeded(*numbers: int) -> None:
    """Sets torch's generator from these numbers; different numbers give unrelated streams."""
    torch.manual_seed(int(np.random.SeedSequence(list(numbers)).generate_state(1)[0]))


def _reproducible(compute: ComputeParams) -> torch.device:
    """Makes torch reproducible bit for bit: fixed threads, deterministic kernels."""
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise MedscreenError("compute.device is cuda, but PyTorch finds no GPU here; set it to cpu.")
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    return torch.device(compute.device)


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Examples,
    tune: Examples,
    recipe: Recipe,
    on_epoch: OnEpoch,
) -> None:
    """Trains `network` in place and leaves it, in eval mode, as it was after its best epoch on `tune`.

    Order and augmentation of an epoch derive from (seed, epoch) alone. Stops after `patience` epochs without a
    lower loss on `tune`.
    """
    training = recipe.training
    device = _reproducible(recipe.compute)
    network.to(device)
    images, labels = train.images.to(device), train.labels.to(device)
    steps = -(-len(images) // training.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=training.learning_rate, total_steps=training.epochs * steps
    )
    best, best_state, best_epoch = float("inf"), copy.deepcopy(network.state_dict()), 0
    for epoch in range(1, training.epochs + 1):
        seeded(recipe.seed, epoch)
        network.train()
        sums: dict[str, float] = {}
        # chunks of like size: a last batch of one image is nothing to normalise over
        for batch in torch.randperm(len(images)).to(device).tensor_split(steps):
            chosen = images[batch]
            terms = loss(recipe.augment(chosen) if recipe.augment else chosen, labels[batch])
            optimiser.zero_grad(set_to_none=True)
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            _add(sums, terms, len(batch))
        tuned = _mean_terms(network, loss, tune, device)
        on_epoch(
            epoch,
            {f"train_{name}": value / len(images) for name, value in sums.items()}
            | {f"tune_{name}": value for name, value in tuned.items()},
        )
        if tuned["loss"] < best:
            best, best_state, best_epoch = tuned["loss"], copy.deepcopy(network.state_dict()), epoch
        if epoch - best_epoch >= training.patience:
            break
    if best_epoch == 0:
        raise MedscreenError(
            f"The loss is not finite after any of {epoch} epochs; lower training.learning_rate of this detector."
        )
    network.load_state_dict(best_state)
    network.to("cpu").eval()


def _mean_terms(network: nn.Module, loss: Loss, examples: Examples, device: torch.device) -> dict[str, float]:
    network.eval()
    sums: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(examples.images), _BATCH_TUNE):
            stop = start + _BATCH_TUNE
            images, labels = examples.images[start:stop].to(device), examples.labels[start:stop].to(device)
            _add(sums, loss(images, labels), len(images))
    return {name: value / len(examples.images) for name, value in sums.items()}


def _add(sums: dict[str, float], terms: Mapping[str, Tensor], number: int) -> None:
    for name, value in terms.items():
        sums[name] = sums.get(name, 0.0) + float(value.detach()) * number
