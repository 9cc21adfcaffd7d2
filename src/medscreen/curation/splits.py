"""Which images are for fitting, stopping, choosing and reporting."""

import numpy as np
from numpy.typing import NDArray

from medscreen.curation.readable import Readable
from medscreen.errors import MedscreenError
from medscreen.params import CurationParams


def published_splits(
    readable: Readable,
    kept: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> dict[str, NDArray[np.int64]] | None:
    """Published splits, with `tune` cut from train; None where the source publishes none."""
    names = np.array([readable.records[i].split or "" for i in kept])
    if not names.all():
        return None
    train = kept[names == "train"]
    train, tune = _cut(readable, train, patients, params.tune_fraction, seed)
    return {"train": train, "tune": tune, "val": kept[names == "val"], "test": kept[names == "test"]}


def split_by_patient(
    readable: Readable,
    kept: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Splits of the fractions in params.yaml; each patient lies in one."""
    rest, test = _cut(readable, kept, patients, params.test_fraction, seed)
    rest, val = _cut(readable, rest, patients, params.val_fraction / (1 - params.test_fraction), seed + 1)
    remaining = 1 - params.test_fraction - params.val_fraction
    train, tune = _cut(readable, rest, patients, params.tune_fraction / remaining, seed + 2)
    return {"train": train, "tune": tune, "val": val, "test": test}


def _cut(
    readable: Readable,
    positions: NDArray[np.int64],
    patients: NDArray[np.int64],
    fraction: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cuts about that fraction of patients off, stratified by whether they have an abnormal image."""
    from sklearn.model_selection import train_test_split

    labels = np.array([readable.records[i].label for i in positions])
    people, person_of = np.unique(patients[positions], return_inverse=True)
    abnormal = np.zeros(len(people), dtype=np.int64)
    np.maximum.at(abnormal, person_of, labels)
    if min(np.bincount(abnormal, minlength=2)) < 2:
        raise MedscreenError(
            f"The data has {int((abnormal == 0).sum())} normal and {int(abnormal.sum())} abnormal patients; "
            "splitting needs several of both: check the label column, or add images of the other class."
        )
    try:
        stay, cut = train_test_split(people, test_size=fraction, random_state=seed, stratify=abnormal)
    except ValueError as error:
        raise MedscreenError(
            f"{len(people)} patients are too few to cut {fraction:.0%} off ({error}); add images."
        ) from error
    return positions[np.isin(patients[positions], stay)], positions[np.isin(patients[positions], cut)]


def require_both_classes(name: str, labels: NDArray[np.int64]) -> None:
    """Raises MedscreenError for a split that can't be learned from, or judged on."""
    for label, word in ((0, "normal"), (1, "abnormal")):
        if not (labels == label).any():
            raise MedscreenError(
                f"The {name} split has no {word} image; a detector needs both classes to be judged: "
                "check the labels, or add images."
            )
