"""Disclosure control: findings and attributes of fewer than 5 patients are merged into one value."""

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
    """A copy with `privacy.OTHER` for values of attributes, findings and DICOM properties of fewer than 5 patients.

    Patients of all four splits count together, and ages by their band. Missing values stay missing. The audit's
    `merged_values`: attribute -> number of values that were replaced.
    """
    images = curated.images
    staying = np.concatenate([curated.splits[name] for name in SPLITS])
    merged: dict[str, int] = {}

    def common(attribute: str, name: str, values: Sequence[str | None]) -> list[Any]:
        rare = _rare(attribute, [value or "" for value in values], images.patients, staying)
        merged.update({name: len(rare)} if rare else {})
        return [OTHER if value in rare else value for value in values]

    attributes = {attribute: common(attribute, attribute, values) for attribute, values in images.attributes.items()}
    dicom = {name: common(name, f"DICOM {name}", stated) for name, stated in images.dicom.items()}
    cleaned = replace(images, attributes=attributes, dicom=dicom)
    return replace(curated, images=cleaned, audit=curated.audit | {"merged_values": merged})


def _rare(attribute: str, values: Sequence[str], patients: NDArray[np.int64], staying: NDArray[np.int64]) -> set[str]:
    having = Counter(kind for kind, _ in {(_kind(attribute, values[i]), int(patients[i])) for i in staying})
    return {value for value in set(values) if value.strip() and having[_kind(attribute, value)] < FEWEST}


def _kind(attribute: str, value: str) -> str:
    """The group that a value counts in; text that is not an age counts as itself, not as unknown."""
    found = group(attribute, value)
    return value.strip() if found == UNKNOWN else found
