"""Findings and traits that few patients have: a cell of a table may hold a name, and what is rare leads to a person."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from medscreen.config.privacy import FEWEST, OTHER, UNKNOWN
from medscreen.data.attributes import group
from medscreen.data.curation.curation import Curated
from medscreen.data.images import SPLITS


def without_rare_values(curated: Curated) -> Curated:
    """The same, each value of a trait (the finding among them) that fewer than 5 patients have called `traits.OTHER`.

    So is what DICOM states of the images. Patients are those of the four splits together. Ages count by their band.
    What is not known stays unknown. The audit says under `merged_values` how many values of which trait that were.
    """
    images = curated.images
    staying = np.concatenate([curated.splits[name] for name in SPLITS])
    traits, merged = {}, {}
    for trait, values in images.traits.items():
        rare = _rare(trait, values, images.patients, staying)
        traits[trait] = [OTHER if value in rare else value for value in values]
        if rare:
            merged[trait] = len(rare)
    dicom: dict[str, list[str | None]] = {}
    for name, stated in images.dicom.items():
        rare = _rare(name, [value or "" for value in stated], images.patients, staying)
        dicom[name] = [OTHER if value in rare else value for value in stated]
        if rare:
            merged[f"DICOM {name}"] = len(rare)
    cleaned = replace(images, traits=traits, dicom=dicom)
    return replace(curated, images=cleaned, audit=curated.audit | {"merged_values": merged})


def _rare(trait: str, values: Sequence[str], patients: NDArray[np.int64], staying: NDArray[np.int64]) -> set[str]:
    having: dict[str, set[int]] = {}
    for i in staying:
        having.setdefault(_kind(trait, values[i]), set()).add(int(patients[i]))
    frequent = {kind for kind, people in having.items() if len(people) >= FEWEST}
    return {value for value in set(values) if value.strip() and _kind(trait, value) not in frequent}


def _kind(trait: str, value: str) -> str:
    """What counts as one value: its group, but a text that is no age is no group of unknown ages."""
    found = group(trait, value)
    return value.strip() if found == UNKNOWN else found
