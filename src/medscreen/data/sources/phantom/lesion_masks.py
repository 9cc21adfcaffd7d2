"""Lesion masks of simulated films, computed from the seed instead of stored."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom.anatomy import chords, draw_thorax
from medscreen.data.sources.phantom.cohort import Sending, plan_export, stream
from medscreen.data.sources.phantom.films import draw_lesion, posed_grid, water

_EDGE = np.exp(-1)  # of the lesion's largest thickness: of a nodule, its radius


def lesion_masks(params: PhantomParams, origins: Sequence[str]) -> NDArray[np.bool_]:
    """Masks (N, image_size, image_size) of the films of these names; all False for a film without a lesion.

    True where the thickness along the ray is at least 1/e of the maximum. Raises KeyError for the name of a file that
    these settings do not generate.
    """
    planned = {file.dicom_name: file for files in plan_export(params) for file in files}
    masks = np.zeros((len(origins), params.image_size, params.image_size), np.bool_)
    for i, origin in enumerate(origins):
        if planned[origin].patient.finding != "none":
            thickness = _lesion_thickness(params, planned[origin])
            masks[i] = (thickness >= _EDGE * thickness.max()) & (thickness > 0)
    return masks


def _lesion_thickness(params: PhantomParams, file: Sending) -> NDArray[np.float64]:
    """Centimeters of lesion along each ray of a film, drawn as in `films.simulate`."""
    patient = file.patient
    thorax = draw_thorax(patient.sex, patient.age, stream(params, patient.number, 1))
    lesion = draw_lesion(patient.finding, thorax, stream(params, patient.number, 2))
    x, y = posed_grid(params.image_size, stream(params, patient.number, 3 + file.image))
    return water(lesion, x, y, chords(thorax, x, y).lungs)
