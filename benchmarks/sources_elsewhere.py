"""Simulated change of source: AUROC against altered healthy images, without use of `test`."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from medscreen.data.images import ImageSet, Pixels

Gray = NDArray[np.float64]


def _blurred(images: Gray, share: float) -> Gray:
    soft = ndimage.gaussian_filter(images, (0, 1, 1), mode="nearest")
    return images + share * (soft - images)


def _placed(images: Gray, scale: float = 1.0, aside: float = 0.0, degrees: float = 0.0) -> Gray:
    """Scales (above 1: closer), shifts by a share of the side, and rotates about the center."""
    side = images.shape[1]
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = np.full(2, (side - 1) / 2)
    offset = middle - matrix @ (middle + np.array([0.0, aside * side]))
    return np.stack([ndimage.affine_transform(image, matrix, offset, order=1, mode="nearest") for image in images])


CHANGES: Mapping[str, Callable[[Gray], Gray]] = {
    "gamma 1.25": lambda x: 255 * (x / 255) ** 1.25,
    "gamma 0.8": lambda x: 255 * (x / 255) ** 0.8,
    "gain 1.15": lambda x: 1.15 * x,
    "gain 0.85": lambda x: 0.85 * x,
    "softer": lambda x: _blurred(x, 0.3),
    "sharper": lambda x: _blurred(x, -0.3),
    "noisier": lambda x: x + np.random.default_rng(0).normal(0, 4, x.shape),
    "closer": lambda x: _placed(x, scale=1.07),
    "farther": lambda x: _placed(x, scale=0.93),
    "left": lambda x: _placed(x, aside=-0.035),
    "right": lambda x: _placed(x, aside=0.035),
    "turned left": lambda x: _placed(x, degrees=6),
    "turned right": lambda x: _placed(x, degrees=-6),
}


def changed(pixels: Pixels, name: str) -> Pixels:
    """Applies a change of CHANGES to display gray (N, S, S)."""
    found: Pixels = np.clip(np.rint(CHANGES[name](pixels.astype(np.float64))), 0, 255).astype(np.uint8)
    return found


def aurocs_elsewhere(images: ImageSet, score: Callable[[Pixels], NDArray[np.float32]]) -> dict[str, float]:
    """Name of the change -> AUROC of unchanged abnormal against changed healthy images."""
    healthy, abnormal = images.pixels[images.labels == 0], score(images.pixels[images.labels == 1])
    labels = np.repeat([0, 1], [len(healthy), len(abnormal)])
    return {
        name: float(roc_auc_score(labels, np.concatenate([score(changed(healthy, name)), abnormal])))
        for name in CHANGES
    }
