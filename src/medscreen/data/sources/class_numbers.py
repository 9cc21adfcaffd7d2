"""Whether the labels of a MedMNIST file are ones that the settings name."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import MedMnistParams
from medscreen.errors import MedscreenError

_GREATEST = (2**8 - 1, 2**16 - 1, 2**32 - 1)
# Share of images with exactly one label from which on labels are taken as classes, not findings: some images with
# several, and none with several.
_ONE_HOT, _ONE_HOT_ALONE = 0.99, 0.9


def require_labels(
    params: MedMnistParams, path: Path, labels: Mapping[str, NDArray[np.integer]], classes: int | None
) -> None:
    """Raises MedscreenError for labels (N, K) of splits that disagree, stand for missing ones, or aren't named.

    `classes`: how many the data set has where it is a published one.
    """
    columns = labels["train"].shape[1]
    there = set(np.unique(np.concatenate([found.ravel() for found in labels.values()])).tolist())
    for split, found in labels.items():
        if found.shape[1] != columns:
            raise MedscreenError(
                f"{path}: {split}_labels has {found.shape[1]} labels an image where train_labels has {columns}; save "
                "all splits alike."
            )
        if columns > 1 and not np.isin(found, (0, 1)).all():
            raise MedscreenError(
                f"{path}: {split}_labels has {columns} labels an image, and some are neither 0 nor 1; save 1 for each "
                "finding that an image has, 0 for the others."
            )
        if columns == 1:
            _require_classes(params, path, split, found, classes, there)
    if columns > 1 and params.normal_labels:
        _require_one_class_each(path, labels)
    known = set(range(columns)) if columns > 1 else there
    if columns > 1 and classes not in {None, columns}:
        raise MedscreenError(
            f"{path}: train_labels has {columns} labels an image where {params.flag} has {classes}; name the file, and "
            "flag in params.yaml, otherwise."
        )
    unknown = [label for label in params.normal_labels if label not in known]
    normal = [label for label in params.normal_labels if label in known]
    if not any(_are_normal(found, normal).any() for found in labels.values()):
        raise MedscreenError(
            f"{path} has no image that normal_labels: {params.normal_labels} calls normal; correct it in params.yaml."
        )
    if unknown:
        raise MedscreenError(
            f"{path} has no label {unknown[0]}, which normal_labels: {params.normal_labels} names; correct it in "
            "params.yaml."
        )


def _require_classes(
    params: MedMnistParams,
    path: Path,
    split: str,
    found: NDArray[np.integer],
    classes: int | None,
    there: Collection[int],
) -> None:
    values = found[~np.isin(found, params.normal_labels)]
    # -1 that was kept unsigned, and perhaps widened since; beside 254 it is a class
    widened = [number for number in _GREATEST if number - 1 not in there]
    greatest = (found.dtype.kind == "u") & (values == np.iinfo(found.dtype).max)
    missing = values[(values < 0) | greatest | np.isin(values, widened)]
    if len(missing):
        raise MedscreenError(
            f"{path}: {split}_labels holds {missing[0]} {len(missing)} times, a code for a missing label; take these "
            "images out."
        )
    if classes is not None and len(found) and found.max() >= classes:
        raise MedscreenError(
            f"{path}: {split}_labels holds {found.max()} where {params.flag} has the classes 0 to {classes - 1}; name "
            "the file, and flag in params.yaml, otherwise."
        )


def _require_one_class_each(path: Path, labels: Mapping[str, NDArray[np.integer]]) -> None:
    """Raises MedscreenError where nearly all images have exactly one class of several, and some have none."""
    of_each = np.concatenate([found.sum(axis=1) for found in labels.values()])
    none = int((of_each == 0).sum())
    share = _ONE_HOT if of_each.max() > 1 else _ONE_HOT_ALONE
    if none and (of_each == 1).sum() >= share * len(of_each):
        raise MedscreenError(
            f"{path}: {none} of {len(of_each)} images have none of the {len(labels['train'][0])} labels where nearly "
            "all have exactly one, so their label is missing; take these images out, or give them a label."
        )


def _are_normal(found: NDArray[np.integer], normal: list[int]) -> NDArray[np.bool_]:
    """Of each image whether all its labels are normal."""
    if found.shape[1] == 1:
        return np.isin(found[:, 0], normal)
    others = found[:, ~np.isin(np.arange(found.shape[1]), normal)]
    none_of_them: NDArray[np.bool_] = others.max(axis=1, initial=0) == 0
    return none_of_them
