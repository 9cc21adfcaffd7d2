"""Lesion masks of data sets that have them: currently only the phantom."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import DatasetParams, PhantomParams
from medscreen.data.sources.phantom import lesion_masks as phantom


def lesion_masks(settings: DatasetParams, origins: Sequence[str]) -> NDArray[np.bool_] | None:
    """Masks (N, image_size, image_size) of the images with these origins; None for a data set without masks."""
    return phantom.lesion_masks(settings, origins) if isinstance(settings, PhantomParams) else None
