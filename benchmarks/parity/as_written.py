"""The notebooks' recipes as they were written, defects included. Nothing of medscreen is used but the images."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from medscreen.data.images import ImageSet
from medscreen.evaluation.outcomes import balanced_view
from parity import networks

Labels = NDArray[np.int64]
Split = tuple[Tensor, Labels]
"""Images (N, 1, H, W) and labels (N,): 0 normal, 1 abnormal."""


def fracture_autoencoder(splits: Mapping[str, ImageSet], seed: int) -> float:
    """000: accuracy on test at mean + 2 sd of the healthy errors of val."""
    torch.manual_seed(seed)
    data = {name: (_tensor(found.pixels) * 2 - 1, found.labels) for name, found in splits.items()}
    images, labels = data["train"]
    network = networks.autoencoder_000()
    _train(network, images[labels == 0], 25, 32, lambda batch: F.mse_loss(network(batch), batch))
    errors = {name: _errors(network, images) for name, (images, _) in data.items()}
    healthy = errors["val"][data["val"][1] == 0]
    threshold = healthy.mean() + 2 * healthy.std(ddof=1)
    return float(accuracy_score(data["test"][1], errors["test"] > threshold))


def pneumonia_autoencoder(file: Path, seed: int) -> float:
    """001: accuracy on the balanced test split at the threshold of best accuracy on the balanced val split."""
    return _pneumonia_by_mse(networks.autoencoder_001, file, seed)


def relaxed_pneumonia_autoencoder(file: Path, seed: int) -> float:
    """001: the same with its relaxed network."""
    return _pneumonia_by_mse(networks.relaxed_autoencoder_001, file, seed)


def _pneumonia_by_mse(build: Callable[[], nn.Module], file: Path, seed: int) -> float:
    torch.manual_seed(seed)
    data = _pneumonia(file, seed)
    network = build()
    _train(network, _healthy(data["train"]), 200, 64, lambda batch: F.mse_loss(network(batch), batch))
    return _accuracy_at_best_threshold(data, lambda images: _errors(network, images), 100)


def pneumonia_vae(file: Path, seed: int) -> float:
    """001: the variational autoencoder; its error is the cross-entropy of a sampled reconstruction."""
    torch.manual_seed(seed)
    data = _pneumonia(file, seed)
    network = networks.VAE001()

    def loss(batch: Tensor) -> Tensor:
        output, mean, log_variance = network(batch)
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        return F.binary_cross_entropy(output, batch, reduction="sum") + divergence

    @torch.no_grad()
    def errors(images: Tensor) -> NDArray[np.float32]:
        network.eval()
        losses = F.binary_cross_entropy(network(images)[0], images, reduction="none")
        return losses.mean((1, 2, 3)).numpy()

    _train(network, _healthy(data["train"]), 200, 64, loss)
    return _accuracy_at_best_threshold(data, errors, 200)


def trauma_cnn(splits: Mapping[str, ImageSet], seed: int) -> float:
    """002: accuracy on a random 15 %, cut after the rarer class was tripled by mirrored and turned copies."""
    torch.manual_seed(seed)
    images = torch.cat([_tensor(found.pixels) for found in splits.values()])
    labels = np.concatenate([found.labels for found in splits.values()])
    rare = images[labels == 1]
    images = torch.cat([images, rare.flip(3), rare.rot90(2, (2, 3))])
    labels = np.concatenate([labels, np.ones(2 * len(rare), np.int64)])
    train, test = train_test_split(np.arange(len(labels)), test_size=0.15, random_state=42, stratify=labels)
    targets = torch.from_numpy(labels).float()
    network = networks.cnn_002(images.shape[-1])
    inputs = torch.utils.data.TensorDataset(images[train], targets[train])
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(20):
        network.train()
        for batch, wanted in torch.utils.data.DataLoader(inputs, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(batch)[:, 0], wanted).backward()
            optimizer.step()
    network.eval()
    with torch.no_grad():  # the logit itself is compared with .5, as in the notebook
        abnormal = torch.cat([network(batch)[:, 0] > 0.5 for batch in images[test].split(256)])
    return float(accuracy_score(labels[test], abnormal.numpy()))


def random_neighbors(seed: int) -> float:
    """004: k-NN by grid search on the random numbers that stand in for embeddings that are missing; five classes."""
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.random((100, 512)), rng.integers(0, 5, 100)
    train, test, wanted, truth = train_test_split(embeddings, labels, test_size=0.2, random_state=42, stratify=labels)
    scaler = StandardScaler().fit(train)
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5, 7, 9, 11]}, cv=5, scoring="accuracy")
    search.fit(scaler.transform(train), wanted)
    return float(accuracy_score(truth, search.best_estimator_.predict(scaler.transform(test))))


def _pneumonia(file: Path, seed: int) -> dict[str, Split]:
    """PneumoniaMNIST as published; val and test with as many abnormal images as normal ones."""
    data = {}
    with np.load(file) as arrays:
        for split in ("train", "val", "test"):
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"][:, 0].astype(np.int64)
            kept = np.arange(len(labels)) if split == "train" else balanced_view(labels, seed)
            data[split] = _tensor(images[kept]), labels[kept]
    return data


def _healthy(split: Split) -> Tensor:
    images, labels = split
    return images[labels == 0]


def _tensor(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.asarray(pixels)).float()[:, None] / 255


def _train(network: nn.Module, images: Tensor, epochs: int, batch_size: int, loss: Callable[[Tensor], Tensor]) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        network.train()
        for batch in torch.randperm(len(images)).split(batch_size):
            optimizer.zero_grad()
            loss(images[batch]).backward()
            optimizer.step()


@torch.no_grad()
def _errors(network: nn.Module, images: Tensor) -> NDArray[np.float32]:
    """Mean squared error of each image."""
    network.eval()
    return F.mse_loss(network(images), images, reduction="none").mean((1, 2, 3)).numpy()


def _accuracy_at_best_threshold(
    data: Mapping[str, Split], errors: Callable[[Tensor], NDArray[np.float32]], steps: int
) -> float:
    """Accuracy on test at the first of the evenly spaced thresholds with the best accuracy on val."""
    images, labels = data["val"]
    of_val = errors(images)
    thresholds = np.linspace(of_val.min(), of_val.max(), steps)
    best = max(thresholds, key=lambda threshold: accuracy_score(labels, of_val > threshold))
    images, labels = data["test"]
    return float(accuracy_score(labels, errors(images) > best))
