"""Training loop of all gradient-trained detectors, independent of model and loss."""

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
"""Images (N, 1, S, S) and labels (N,) -> named terms; the term `loss` is minimized."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt(3), in bytes


@dataclass(frozen=True)
class Examples:
    """Float images (N, 1, S, S) and labels (N,) in memory."""

    images: Tensor
    labels: Tensor

    @classmethod
    def of(cls, images: ImageSet) -> "Examples":
        """Examples with all images of a set."""
        return cls(as_images(images.pixels), torch.from_numpy(images.labels.astype(np.float32)))


def shuffled(labels: Tensor) -> Tensor:
    """Random permutation of all indices."""
    return torch.randperm(len(labels))


def _all_alike(network: nn.Module) -> list[tuple[list[nn.Parameter], float]]:
    return [([weight for weight in network.parameters() if weight.requires_grad], 1.0)]


@dataclass(frozen=True)
class Recipe:
    """Training recipe of a network.

    - `augment`: transforms a batch of images (N, 1, S, S) to the same shape.
    - `mix`: transforms images and labels together, after `augment`.
    - `order`: labels of all images -> indices of an epoch.
    - `groups`: trained parameters in groups, each with a factor of the learning rate.
    """

    training: TrainingParams
    compute: ComputeParams
    seed: int
    augment: Callable[[Tensor], Tensor] | None = None
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    order: Callable[[Tensor], Tensor] = shuffled
    groups: Callable[[nn.Module], list[tuple[list[nn.Parameter], float]]] = _all_alike

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augmented and mixed batch of images and labels."""
        if self.augment:
            images = self.augment(images)
        return self.mix(images, labels) if self.mix else (images, labels)


def seeded(*numbers: int) -> None:
    """Seeds torch's global generator from these numbers; different numbers give independent streams."""
    torch.manual_seed(int(np.random.SeedSequence(list(numbers)).generate_state(1)[0]))


def _reproducible(compute: ComputeParams) -> torch.device:
    """Makes torch bitwise reproducible (threads, deterministic kernels); returns the device."""
    if compute.device == "cuda":
        if not torch.cuda.is_available():
            raise MedscreenError("compute.device: cuda, but PyTorch finds no GPU. Set it to cpu.")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, cuBLAS may sum in any order
    _keep_freed_memory()
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling costs 7 %
    return torch.device(compute.device)


def _keep_freed_memory() -> None:
    """Makes glibc keep large freed blocks, which the kernel would otherwise zero again for every batch."""
    # musl and other C libraries lack mallopt
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            mallopt(option, 2**31 - 1)


def _optimizer(network: nn.Module, recipe: Recipe, steps: int) -> tuple[Optimizer, OneCycleLR]:
    training = recipe.training
    groups = [(weights, share * training.learning_rate) for weights, share in recipe.groups(network) if weights]
    learning: list[dict[str, Any]] = [{"params": weights, "lr": rate} for weights, rate in groups]
    optimizer: Optimizer
    match training.optimizer:
        case "adamw":
            optimizer = AdamW(learning, weight_decay=training.weight_decay, fused=True)
        case "adam":
            optimizer = Adam(learning, weight_decay=training.weight_decay, fused=True)
        case "sgd":
            optimizer = SGD(learning, momentum=0.9, nesterov=True, weight_decay=training.weight_decay, fused=True)
    return optimizer, OneCycleLR(optimizer, max_lr=[rate for _, rate in groups], total_steps=steps)


def fit_network(
    network: nn.Module,
    loss: Loss,
    train: Examples,
    tune: Examples,
    recipe: Recipe,
    on_epoch: OnEpoch,
) -> None:
    """Trains `network` in place and restores, in eval mode, the weights of the epoch with the lowest loss on `tune`.

    With `ema_decay`, the averaged weights are evaluated and kept. Order and augmentation of an epoch depend on (seed,
    epoch) only. During `on_epoch`, the network is in eval mode with the weights of that epoch. Training stops after
    `patience` epochs without a lower loss on `tune`. On a GPU with bfloat16, the forward pass uses it (autocast).
    """
    training, device = recipe.training, _reproducible(recipe.compute)
    halves = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    network.to(device)
    images, labels = train.images.to(device), train.labels.to(device)
    # at least two images in a batch: batch norm can't normalize over one
    steps = max(1, min(-(-len(images) // training.batch_size), len(images) // 2))
    optimizer, schedule = _optimizer(network, recipe, training.epochs * steps)
    average = ExponentialMovingAverage(network, training.ema_decay)
    best, best_state, best_epoch = float("inf"), copy.deepcopy(network.state_dict()), 0
    for epoch in range(1, training.epochs + 1):
        seeded(recipe.seed, epoch)
        network.train()
        sums: dict[str, Tensor] = {}
        for batch in recipe.order(train.labels).to(device).tensor_split(steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=halves):
                terms = loss(*recipe.batch(images[batch], labels[batch]))
            optimizer.zero_grad(set_to_none=True)
            terms["loss"].backward()  # type: ignore[no-untyped-call]
            optimizer.step()
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
            f"training.learning_rate: no finite loss on tune in {epoch} epochs. Lower it for this detector."
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
    """Adds terms on their device; converting them to numbers would synchronize the GPU."""
    for name, value in terms.items():
        total = value.detach().double() * number
        sums[name] = sums[name] + total if name in sums else total
