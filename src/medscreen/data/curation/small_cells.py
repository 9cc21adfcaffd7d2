"""Findings and traits that few patients have: a cell of a table may hold a name, and what is rare leads to a person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.privacy import FEWEST, OTHER, UNKNOWN
from medscreen.data.attributes import group
from medscreen.data.curation.curation import Curated
from medscreen.data.images import SPLITS


def without_rare_values(curated: Curated) -> Curated:
    """The same, each value of a trait (the finding among them) that fewer than 5 patients have called `privacy.OTHER`.

    So is what DICOM states of the images. Patients are those of the four splits together. Ages count by their band.
    Missing values stay missing. The audit's `merged_values`: trait -> how many values that were.
    """
    images = curated.images
    staying = np.concatenate([curated.splits[name] for name in SPLITS])
    merged: dict[str, int] = {}

    def common(trait: str, name: str, values: Sequence[str | None]) -> list[Any]:
        rare = _rare(trait, [value or "" for value in values], images.patients, staying)
        merged.update({name: len(rare)} if rare else {})
        return [OTHER if value in rare else value for value in values]

    traits = {trait: common(trait, trait, values) for trait, values in images.traits.items()}
    dicom = {name: common(name, f"DICOM {name}", stated) for name, stated in images.dicom.items()}
    cleaned = replace(images, traits=traits, dicom=dicom)
    return replace(curated, images=cleaned, audit=curated.audit | {"merged_values": merged})


def _rare(trait: str, values: Sequence[str], patients: NDArray[np.int64], staying: NDArray[np.int64]) -> set[str]:
    having = Counter(kind for kind, _ in {(_kind(trait, values[i]), int(patients[i])) for i in staying})
    return {value for value in set(values) if value.strip() and having[_kind(trait, value)] < FEWEST}


def _kind(trait: str, value: str) -> str:
    """The kind that a value counts as: its group, but a text that is no age is no group of unknown ages."""
    found = group(trait, value)
    return value.strip() if found == UNKNOWN else found
