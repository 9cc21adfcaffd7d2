"""The labels of a MedMNIST file, and their check against the settings."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import MedMnistParams
from medscreen.data.sources.npz_arrays import ArchivedArray
from medscreen.errors import MedscreenError

_Labels = NDArray[np.integer]
"""Labels (N, K) of a split: K = 1 for the class number, or 0 and 1 for each of K findings."""

_GREATEST = (2**8 - 1, 2**16 - 1, 2**32 - 1)
# Minimum share of images with exactly one label for labels to be taken as classes, not findings: if some images have
# several labels, and if none has.
_ONE_HOT, _ONE_HOT_ALONE = 0.99, 0.9


def read_labels(archive: zipfile.ZipFile, split: str, path: Path) -> _Labels:
    """The labels of a split; raises MedscreenError for images or labels of an unsupported type or shape."""
    images, labels = ArchivedArray(archive, f"{split}_images"), ArchivedArray(archive, f"{split}_labels")
    if problem := _problem_of_images(images):
        raise MedscreenError(
            f"{path}: {split}_images {images.shape} {problem}; supported: 2-D images, uint8 (N, H, W) or (N, H, W, 3). "
            "Convert the file, or set another flag in params.yaml."
        )
    number = images.shape[0]
    fits = len(labels.shape) == 1 or (len(labels.shape) == 2 and labels.shape[1] > 0)
    if not fits or labels.dtype.kind not in "ui" or labels.shape[0] != number:
        raise MedscreenError(
            f"{path}: {split}_labels is {labels.dtype} {labels.shape}; it has to be whole numbers ({number},) or "
            f"({number}, 1), one per image, or ({number}, K) of 0 and 1 for K findings."
        )
    return labels.read().reshape(number, -1)


def _problem_of_images(images: ArchivedArray) -> str | None:
    shape = images.shape
    channels = shape[3] if len(shape) == 4 else 3
    if channels > 4 and shape[1] in {1, 3}:
        return "has its channels first"
    if channels > 4 or len(shape) > 4:
        return "holds volumes"
    if len(shape) < 3 or channels != 3 or images.dtype != np.uint8 or min(shape[1:]) < 1:
        return f"is {images.dtype}"
    return None if shape[0] else "holds no image"


def require_labels(params: MedMnistParams, path: Path, labels: Mapping[str, _Labels], classes: int | None) -> None:
    """Raises MedscreenError for labels that differ in form by split, mean missing values, or do not fit the settings.

    `classes`: number of classes or findings of a published data set.
    """
    columns = labels["train"].shape[1]
    for split, found in labels.items():
        if found.shape[1] != columns:
            raise MedscreenError(
                f"{path}: {split}_labels has {found.shape[1]} labels per image, but train_labels {columns}; save all "
                "with the same number."
            )
    every = np.concatenate(list(labels.values()))
    there = set(range(columns)) if columns > 1 else set(np.unique(every).tolist())
    for split, found in labels.items():
        if problem := _problem(params, found, there, classes):
            raise MedscreenError(f"{path}: {split}_labels {problem}.")
    if columns > 1 and params.normal_labels:
        _require_one_class_each(path, every)
    normal = [label for label in params.normal_labels if label in there]
    others = every[:, [column not in normal for column in range(columns)]]
    is_normal = np.isin(every[:, 0], normal) if columns == 1 else ~others.any(axis=1)
    unknown = [f"label {label}" for label in params.normal_labels if label not in there]
    if unknown or not is_normal.any():
        raise MedscreenError(
            f"{path} has no {unknown[0] if unknown else 'normal image'} by normal_labels: {params.normal_labels}; "
            "correct it in params.yaml."
        )


def _problem(params: MedMnistParams, found: _Labels, there: set[int], classes: int | None) -> str | None:
    columns = found.shape[1]
    if columns > 1 and not np.isin(found, (0, 1)).all():
        return f"has {columns} labels per image, some neither 0 nor 1; save 1 for each finding, 0 for the others"
    values = found[~np.isin(found, params.normal_labels)] if columns == 1 else found[:0]
    # -1 stored as an unsigned number, perhaps widened since; if the number below occurs, too, it is a class
    widened = [number for number in _GREATEST if number - 1 not in there]
    greatest = (found.dtype.kind == "u") & (values == np.iinfo(found.dtype).max)
    missing = values[(values < 0) | greatest | np.isin(values, widened)]
    if len(missing):
        return f"holds {missing[0]} {len(missing)} times, a code for a missing label; remove these images"
    if classes is not None and (columns != classes if columns > 1 else found.max() >= classes):
        held = f"has {columns} labels per image" if columns > 1 else f"holds {found.max()}"
        return f"{held}, but {params.flag} has {classes}, from 0; rename the file, and correct flag in params.yaml"
    return None


def _require_one_class_each(path: Path, labels: _Labels) -> None:
    """Raises MedscreenError if nearly all images have exactly one of several classes, and some have none."""
    of_each = labels.sum(axis=1)
    none = int((of_each == 0).sum())
    share = _ONE_HOT if of_each.max() > 1 else _ONE_HOT_ALONE
    if none and (of_each == 1).sum() >= share * len(of_each):
        raise MedscreenError(
            f"{path}: {none} of {len(of_each)} images have none of the {labels.shape[1]} labels, and nearly all others "
            "have exactly one, so their label is missing. Remove these images, or give them a label."
        )
