"""Patient-safe splits: train for fitting, tune for stopping, val for choosing, test for reporting."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import CurationParams
from medscreen.errors import MedscreenError

Positions = NDArray[np.int64]


class _TooFewError(Exception):
    """A part of the patients would hold no normal image, or no abnormal one."""


def published_splits(
    names: NDArray[np.str_],
    kept: Positions,
    labels: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> dict[str, Positions] | None:
    """Published splits of the images at `kept`, with `tune` cut from train; None where an image has no split.

    `names` (of the split, "" for none), `labels` and `patients` are of all images. Raises MedscreenError where train
    has too few patients for tune.
    """
    names = names[kept]
    if not np.all(names != ""):
        return None
    published = kept[names == "train"]
    try:
        train, tune = _cut(published, labels, patients, params.tune_fraction, seed)
    except _TooFewError as error:
        raise MedscreenError(
            f"Train has {_counted(published, labels, patients)} patients, too few to cut tune from it by curation."
            f"tune_fraction {params.tune_fraction}: change that in params.yaml, check the labels, or add images."
        ) from error
    return {"train": train, "tune": tune, "val": kept[names == "val"], "test": kept[names == "test"]}


def split_by_patient(
    kept: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64], params: CurationParams, seed: int
) -> dict[str, Positions]:
    """Splits of the fractions in params.yaml; each patient lies in one.

    Raises MedscreenError where there are too few patients for four splits with normal and abnormal images.
    """
    try:
        rest, test = _cut(kept, labels, patients, params.test_fraction, seed)
        rest, val = _cut(rest, labels, patients, params.val_fraction / (1 - params.test_fraction), seed + 1)
        remaining = 1 - params.test_fraction - params.val_fraction
        train, tune = _cut(rest, labels, patients, params.tune_fraction / remaining, seed + 2)
    except _TooFewError as error:
        raise MedscreenError(
            f"The data has {_counted(kept, labels, patients)} patients, too few for four splits with both by "
            f"curation.tune_fraction {params.tune_fraction}, val_fraction {params.val_fraction} and test_fraction "
            f"{params.test_fraction}: change these in params.yaml, check the labels, or add images."
        ) from error
    return {"train": train, "tune": tune, "val": val, "test": test}


def _cut(
    positions: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Positions, Positions]:
    """Cuts about that fraction of patients off, stratified by whether they have an abnormal image."""
    from sklearn.model_selection import train_test_split

    people, abnormal = _people(positions, labels, patients)
    number = ceil(fraction * len(people))
    # the stratified split refuses fewer
    if min(number, len(people) - number, *np.bincount(abnormal, minlength=2)) < 2:
        raise _TooFewError
    stay, cut = train_test_split(people, test_size=fraction, random_state=seed, stratify=abnormal)
    parts = positions[np.isin(patients[positions], stay)], positions[np.isin(patients[positions], cut)]
    if any(len(np.unique(labels[part])) < 2 for part in parts):
        raise _TooFewError
    return parts


def _people(
    positions: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The patients of these images, and of each whether an image is abnormal."""
    people, person_of = np.unique(patients[positions], return_inverse=True)
    abnormal = np.zeros(len(people), dtype=np.int64)
    np.maximum.at(abnormal, person_of, labels[positions])
    return people, abnormal


def _counted(positions: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64]) -> str:
    _, abnormal = _people(positions, labels, patients)
    return f"{int((abnormal == 0).sum())} normal and {int(abnormal.sum())} abnormal"


def require_both_classes(name: str, labels: NDArray[np.int64]) -> None:
    """Raises MedscreenError for a split that lacks normal or abnormal images."""
    for label, word in ((0, "normal"), (1, "abnormal")):
        if not (labels == label).any():
            raise MedscreenError(
                f"The {name} split has no {word} image; a detector needs both classes to be judged: "
                "check the labels, or add images."
            )
