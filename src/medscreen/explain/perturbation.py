"""Deletion and insertion: what happens to the probability as the places that a map points at are blurred or restored."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from medscreen.data.images import Pixels
from medscreen.evaluation.outcomes import Floats
from medscreen.explain.packaged_map import Maps

STEPS = tuple((step / 10) ** 2 for step in range(11))
"""Shares of the pixels: close together at first, since lesions are small."""
_BLUR = 1 / 8  # standard deviation, in sides of the image: no lesion is left of it

Probability = Callable[[Pixels], Floats]
"""Images (N, S, S) to probabilities of being abnormal (N,), by the packaged detector."""


def perturbation_curves(probability: Probability, pixels: Pixels, maps: Maps) -> tuple[Floats, Floats]:
    """Deletion and insertion curves (N, len(STEPS)) of images by their maps.

    Petsiuk et al. 2018 (RISE, arXiv 1806.07421). Deletion replaces the pixels where the map is largest by those of the
    blurred image; insertion begins with the blurred image and restores them.
    """
    number, size = len(pixels), pixels[0].size
    blurred = np.stack([ndimage.gaussian_filter(image.astype(np.float32), _BLUR * len(image)) for image in pixels])
    blurred = blurred.round().clip(0, 255).astype(np.uint8)
    order = np.argsort(-maps.reshape(number, -1), 1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(size)[None], 1)
    chosen = np.stack([(rank < round(share * size)).reshape(pixels.shape) for share in STEPS], 1)
    deleted = np.where(chosen, blurred[:, None], pixels[:, None])
    inserted = np.where(chosen, pixels[:, None], blurred[:, None])
    images = np.concatenate([deleted, inserted]).reshape(-1, *pixels.shape[1:])
    curves = probability(images).reshape(2, number, len(STEPS))
    return curves[0], curves[1]


def area(curves: Floats) -> Floats:
    """(N, len(STEPS)) -> (N,): the area under each curve over the share of pixels."""
    areas: Floats = np.trapezoid(curves, STEPS, axis=1)
    return areas
