"""Lesion masks of the data sets that know them: today the phantom alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom import lesion_masks as phantom


def lesion_masks(settings: Mapping[str, Any], origins: Sequence[str], size: int) -> NDArray[np.bool_] | None:
    """(N, size, size) for the images of these origins; None where the data set does not know where its lesions are.

    `settings`: those of data/raw.json.
    """
    if settings.get("kind") != "phantom" or settings.get("image_size") != size:
        return None
    return phantom.lesion_masks(PhantomParams.model_validate(settings), origins)
