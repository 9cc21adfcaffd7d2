"""Splits by patient: train for fitting, tune for early stopping, val for selection, test for reporting."""

import unicodedata
from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medscreen.config.datasets import CurationParams
from medscreen.data.sources.labels import plain
from medscreen.data.sources.records import Record
from medscreen.errors import MedscreenError

Positions = NDArray[np.int64]


class _TooFewError(Exception):
    """A part of the patients would have no normal or no abnormal image."""


def person(spelled: str) -> str:
    """A patient's identifier in one spelling: without case, and with one separator.

    "P-00012", "p_00012" and " P 00012" are equal. "P00012" differs: separators stay, so that "1-11" and "11-1" differ.
    """
    # letters, their marks and numbers are kept (a vowel sign of Devanagari is a mark)
    kept = (c if unicodedata.category(c)[0] in "LMN" else " " for c in plain(spelled))
    return "-".join("".join(kept).split()) or spelled


def number_patients(records: Sequence[Record], copies: Iterable[Sequence[int]]) -> Positions:
    """Patient number of each image, in order of first appearance; an image of unknown patient counts as a patient.

    `copies`: groups of images of one patient, whatever their identifiers. Their patients are merged where the splits
    are cut here, but not by images in published val or test.
    """
    owners = _numbered(
        f"image {record.origin}" if record.patient is None else f"person {person(record.patient)}" for record in records
    )
    cut_here = [[owners[i] for i in group if records[i].split in {None, "train"}] for group in copies]
    edges = np.array([(group[0], other) for group in cut_here for other in group[1:]], np.int64).reshape(-1, 2)
    number = int(owners.max()) + 1
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(number, number))
    _, component = connected_components(graph, directed=False)
    return _numbered(component[owners].tolist())


def _numbered(values: Iterable[Any]) -> Positions:
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)


def cut_splits(
    records: Sequence[Record],
    kept: Positions,
    labels: NDArray[np.int64],
    patients: NDArray[np.int64],
    params: CurationParams,
    seed: int,
) -> tuple[dict[str, Positions], bool]:
    """The splits of the images at `kept`, and True if they are the published ones, with `tune` cut from train.

    If any image has no published split, all are cut by the fractions in params.yaml. Splits that are cut here share no
    patient. Raises MedscreenError if there are too few patients, or a split would have no normal or no abnormal image.
    """
    names = np.array([record.split or "" for record in records])[kept]
    published = bool(np.all(names != ""))
    whole = kept[names == "train"] if published else kept
    try:
        if published:
            val, test = kept[names == "val"], kept[names == "test"]
            train, tune = _cut(whole, labels, patients, params.tune_fraction, seed)
        else:
            rest, test = _cut(whole, labels, patients, params.test_fraction, seed)
            rest, val = _cut(rest, labels, patients, params.val_fraction / (1 - params.test_fraction), seed + 1)
            remaining = 1 - params.test_fraction - params.val_fraction
            train, tune = _cut(rest, labels, patients, params.tune_fraction / remaining, seed + 2)
    except _TooFewError as error:
        _, abnormal = _distinct_patients(whole, labels, patients)
        wanted = "cut tune from it by" if published else "cut four splits with both classes by"
        others = "" if published else f", val_fraction {params.val_fraction} and test_fraction {params.test_fraction}"
        raise MedscreenError(
            f"{'Train' if published else 'The data'} has {int((abnormal == 0).sum())} normal and {int(abnormal.sum())} "
            f"abnormal patients, too few to {wanted} curation.tune_fraction {params.tune_fraction}{others}. Change "
            f"{'it' if published else 'them'} in params.yaml, check the labels, or add images."
        ) from error
    splits = {"train": train, "tune": tune, "val": val, "test": test}
    for name, positions in splits.items():
        for label, word in enumerate(("normal", "abnormal")):
            if label not in labels[positions]:
                raise MedscreenError(
                    f"The {name} split has no {word} image, without which detectors can't be evaluated. Check the "
                    "labels, or add images."
                )
    return splits, published


def _cut(
    positions: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Positions, Positions]:
    """Cuts off about this fraction of patients, stratified by whether they have an abnormal image."""
    from sklearn.model_selection import train_test_split

    distinct, abnormal = _distinct_patients(positions, labels, patients)
    number = ceil(fraction * len(distinct))
    # stratification needs at least two
    if min(number, len(distinct) - number, *np.bincount(abnormal, minlength=2)) < 2:
        raise _TooFewError
    stay, cut = train_test_split(distinct, test_size=fraction, random_state=seed, stratify=abnormal)
    parts = positions[np.isin(patients[positions], stay)], positions[np.isin(patients[positions], cut)]
    if any(len(np.unique(labels[part])) < 2 for part in parts):
        raise _TooFewError
    return parts


def _distinct_patients(
    positions: Positions, labels: NDArray[np.int64], patients: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The patients of these images, and for each 1 if an image is abnormal, else 0."""
    distinct, patient_of = np.unique(patients[positions], return_inverse=True)
    abnormal = np.zeros(len(distinct), dtype=np.int64)
    np.maximum.at(abnormal, patient_of, labels[positions])
    return distinct, abnormal
