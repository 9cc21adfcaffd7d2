"""Deletion and insertion: probability as the pixels of highest map value are removed or restored."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medscreen.data.images import Pixels
from medscreen.evaluation.outcomes import Floats
from medscreen.explain.packaged_map import Maps

SHARES = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Shares of the pixels; small, because lesions are small."""
# Standard deviations in sides of the image. Filling from nearby pixels with a soft edge was chosen on val of the
# phantom: the blurred image of the paper, pasted with a hard edge, raises the score at any position.
_BLUR, _FILL, _EDGE = 1 / 8, 1 / 16, 1 / 64

Probability = Callable[[Pixels], Floats]
"""Images (N, S, S) -> probabilities of being abnormal (N,), by the packaged detector."""


def perturbation_curves(probability: Probability, pixels: Pixels, maps: Maps) -> tuple[Floats, Floats]:
    """Deletion and insertion curves (N, len(SHARES)) of images by their maps.

    After Petsiuk et al. 2018 (RISE, arXiv 1806.07421). Deletion replaces the pixels of highest map value by values from
    the pixels around them; insertion restores them in the blurred image.
    """
    number, size = len(pixels), pixels[0].size
    order = np.argsort(-maps.reshape(number, -1), 1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(size)[None], 1)
    images = []
    for image, ranks in zip(pixels.astype(np.float32), rank.reshape(pixels.shape), strict=True):
        side = len(image)
        blurred = ndimage.gaussian_filter(image, _BLUR * side)
        for share in SHARES:
            chosen = ranks < round(share * size)
            soft = np.maximum(ndimage.gaussian_filter(chosen.astype(np.float32), _EDGE * side), chosen)
            deleted = image + soft * (_filled(image, chosen) - image)
            images += [deleted, blurred + soft * (image - blurred)]
    perturbed = np.stack(images).round().clip(0, 255).astype(np.uint8)
    curves = probability(perturbed).reshape(number, len(SHARES), 2)
    return curves[:, :, 0], curves[:, :, 1]


def _filled(image: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    """The image with the chosen pixels filled from nearby other pixels."""
    others = (~chosen).astype(np.float32)
    sigma = _FILL * len(image)
    weight = ndimage.gaussian_filter(others, sigma)
    near = ndimage.gaussian_filter(image * others, sigma) / np.maximum(weight, 1e-6)
    far = (image * others).sum() / max(others.sum(), 1.0)
    filled: NDArray[Any] = np.where(weight > 1e-3, near, far)
    return filled
