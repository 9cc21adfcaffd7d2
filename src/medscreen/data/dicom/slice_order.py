"""Order of slices by their positions along their common normal."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_FRAMES = 65_536
"""Maximum number of frames of a file; a larger number is taken as damage."""

_MOST_PLACED = 10_000  # frames of a file whose positions are read, which takes 0.2 ms each
_PARALLEL = 1e-3  # maximum difference between the unit normals of the slices of a stack


@dataclass(frozen=True)
class Place:
    """A slice's `position` along its `normal`, in mm."""

    normal: tuple[float, float, float]
    position: float


def place_of(orientation: Any, position: Any) -> Place | None:
    """Position and normal by ImageOrientationPatient and ImagePositionPatient; None if they are not numbers."""
    with suppress(TypeError, ValueError):
        right, down = np.array(orientation, dtype=float).reshape(2, 3)
        x, y, z = (float(part) for part in np.cross(right, down))
        along = float(np.dot((x, y, z), np.array(position, dtype=float)))
        if np.isfinite(along):
            return Place((x, y, z), along)
    return None


def positions(places: Sequence[Place | None]) -> list[float] | None:
    """Positions of slices along their normal; None unless all are known and the slices are parallel."""
    known = [place for place in places if place is not None]
    if not known or len(known) < len(places):
        return None
    normals = np.array([place.normal for place in known])
    return [place.position for place in known] if np.abs(normals - normals[0]).max() < _PARALLEL else None


def frames_in_order(dataset: "Dataset", frames: int) -> list[int]:
    """The frames of a file sorted along their normal; in stored order if the file does not state all positions."""
    stored = list(range(frames))
    if not 1 < frames <= _MOST_PLACED:
        return stored
    with suppress(Exception):  # pydicom converts on access, and raises any exception
        shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
        if len(groups) == frames:
            along = positions([_place_of_frame(group, shared[0]) for group in groups])
            return stored if along is None else sorted(stored, key=along.__getitem__)
    return stored


def _place_of_frame(group: "Dataset", shared: "Dataset") -> Place | None:
    planes = group.get("PlaneOrientationSequence") or shared.get("PlaneOrientationSequence")
    position = group.get("PlanePositionSequence")
    if not planes or not position:
        return None
    return place_of(planes[0].get("ImageOrientationPatient"), position[0].get("ImagePositionPatient"))
