"""The one optimiser loop; it knows losses by their names and no model."""

import copy
import ctypes
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.entry import TrainingParams
from medscreen.data.images import ImageSet, batches
from medscreen.detectors.shared.base import OnEpoch, as_images
from medscreen.detectors.shared.ema import ExponentialMovingAverage
from medscreen.errors import MedscreenError

Loss = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
"""Images (N, 1, S, S) and labels (N,) to named terms; the one called `loss` is minimised."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt(3), in bytes


@dataclass(frozen=True)
class Examples:
    """Float images (N, 1, S, S) and labels (N,) in memory."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: ImageSet) -> "Examples":
        """All images of a set."""
        return cls(as_images(images.pixels), torch.from_numpy(images.labels.astype(np.float32)))


def shuffled(labels: Tensor) -> Tensor:
    """The positions of all images, each once."""
    return torch.randperm(len(labels))


def _all_alike(network: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
    return [([weight for weight in network.parameters() if weight.requires_grad], 1.0)]


@dataclass(frozen=True)
class Recipe:
    """Training recipe of a network.

    `augment` changes a batch of images (N, 1, S, S), keeping its shape; `mix` then changes images and labels together.
    `order` says, of the labels of all images, at which positions are those of an epoch. `groups` are the weights that
    learn, each group with the share of the learning rate that it learns at.
    """

    training: TrainingParams
    compute: ComputeParams
    seed: int
    augment: Callable[[Tensor], Tensor] | None = None
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    order: Callable[[Tensor], Tensor] = shuffled
    groups: Callable[[nn.Module], list[tuple[list[nn.Parameter], float]]] = _all_alike

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The batch that the network is trained on: augmented and mixed images with their labels."""
        if self.augment:
            images = self.augment(images)
        return self.mix(images, labels) if self.mix else (images, labels)


def seeded(*numbers: int) -> None:
    """Sets torch's generator from these numbers; different numbers give unrelated streams."""
    torch.manual_seed(int(np.random.SeedSequence(list(numbers)).generate_state(1)[0]))


def _reproducible(compute: ComputeParams) -> torch.device:
    """Makes torch reproducible bit for bit: fixed threads, deterministic kernels."""
    if compute.device == "cuda":
        if not torch.cuda.is_available():
            raise MedscreenError("compute.device is cuda, but PyTorch finds no GPU here; set it to cpu.")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
    _keep_freed_memory()
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling costs 7 %
    return torch.device(compute.device)


def _keep_freed_memory() -> None:
    """Has glibc keep large blocks that are freed: the system clears what it is given back, for every batch anew."""
    # not every libc of Linux has the function
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, 2**31 - 1)


def _optimiser(network: nn.Module, recipe: Recipe, steps: int) -> tuple[Optimizer, OneCycleLR]:
    training = recipe.training
    groups = [(weights, share * training.learning_rate) for weights, share in recipe.groups(network) if weights]
    learning: list[dict[str, Any]] = [{"params": weights, "lr": rate} for weights, rate in groups]
    optimiser: Optimizer
    match training.optimizer:
        case "adamw":
            optimiser = AdamW(learning, weight_decay=training.weight_decay, fused=True)
        case "adam":
            optimiser = Adam(learning, weight_decay=training.weight_decay, fused=True)
        case "sgd":
            optimiser = SGD(learning, momentum=0.9, nesterov=True, weight_decay=training.weight_decay, fused=True)
    return optimiser, OneCycleLR(optimiser, max_lr=[rate for _, rate in groups], total_steps=steps)


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Examples,
    tune: Examples,
    recipe: Recipe,
    on_epoch: OnEpoch,
) -> None:
    """Trains `network` in place and leaves it, in eval mode, as it was after its best epoch on `tune`.

    Judged and left is the average of its weights, where the training has one. Order and augmentation of an epoch derive
    from (seed, epoch) alone. While `on_epoch` is told, the network is in eval mode and what it would be if that epoch
    were the best. Stops after `patience` epochs without a lower loss on `tune`. On a GPU that can, the forward pass is
    computed in bfloat16.
    """
    training, device = recipe.training, _reproducible(recipe.compute)
    halves = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    network.to(device)
    images, labels = train.images.to(device), train.labels.to(device)
    # a batch of one image is nothing to normalise over
    steps = max(1, min(-(-len(images) // training.batch_size), len(images) // 2))
    optimiser, schedule = _optimiser(network, recipe, training.epochs * steps)
    average = ExponentialMovingAverage(network, training.ema_decay)
    best, best_state, best_epoch = float("inf"), copy.deepcopy(network.state_dict()), 0
    for epoch in range(1, training.epochs + 1):
        seeded(recipe.seed, epoch)
        network.train()
        sums: dict[str, Tensor] = {}
        for batch in recipe.order(train.labels).to(device).tensor_split(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=halves):
                terms = loss(*recipe.batch(images[batch], labels[batch]))
            optimiser.zero_grad(set_to_none=True)
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            average.update()
            _add(sums, terms, len(batch))
        with average.applied():
            tuned = _mean_terms(network, loss, tune, device)
            if tuned["loss"] < best:
                best, best_state, best_epoch = tuned["loss"], copy.deepcopy(network.state_dict()), epoch
            trained = {f"train_{name}": float(value) / len(images) for name, value in sums.items()}
            on_epoch(epoch, trained | {f"tune_{name}": value for name, value in tuned.items()})
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
    sums: dict[str, Tensor] = {}
    with torch.no_grad():
        for cut in batches(len(examples.images), examples.images.shape[-1]):
            images, labels = examples.images[cut].to(device), examples.labels[cut].to(device)
            _add(sums, loss(images, labels), len(images))
    return {name: float(value) / len(examples.images) for name, value in sums.items()}


def _add(sums: dict[str, Tensor], terms: Mapping[str, Tensor], number: int) -> None:
    """Adds up where the terms are: asking for a number would make a GPU wait."""
    for name, value in terms.items():
        total = value.detach().double() * number
        sums[name] = sums[name] + total if name in sums else total
