"""Cross-validated grid search of a head's settings, inside the training split."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from threadpoolctl import threadpool_limits
from torch import nn

from medscreen.detectors.embedding.score_heads import Head, Known
from medscreen.errors import MedscreenError

Positions = NDArray[np.int64]


def patient_folds(classes: Positions, patients: Positions, number: int, seed: int) -> list[tuple[Positions, Positions]]:
    """Stratified folds grouped by patient: `number` pairs of training and validation indices.

    Raises MedscreenError if the patients are too few.
    """
    kinds = np.unique(classes)
    fewest = min(len(np.unique(patients[classes == kind])) for kind in kinds)
    if fewest >= number:
        splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        folds = [(training, validation) for training, validation in splitter.split(classes, classes, patients)]
        if all(len(np.unique(classes[side])) == len(kinds) for fold in folds for side in fold):
            return folds
    raise MedscreenError(
        f"train: too few patients for {number} folds that hold every class; the rarest class has {fewest}. Lower folds "
        "of the detector in params.yaml."
    )


def fit_head(head: Head, module: nn.Sequential, data: Known, seed: int, threads: int) -> list[float]:
    """Fits the head with the best settings of a grid search, and copies the result into an untrained module.

    Returns the index of each best setting in its list of values, then the mean validation score over the folds: AUROC
    for two classes, balanced accuracy for more. Raises MedscreenError if a fold has fewer images than `neighbors`.
    """
    grid = head.tried(data.vectors.shape[1])
    smallest = min(len(training) for training, _ in data.folds)
    if max(grid.get("head__n_neighbors", [0])) > smallest:
        raise MedscreenError(
            f"params.yaml: neighbors up to {max(grid['head__n_neighbors'])}, but a fold of the search has {smallest} "
            "training images. Lower neighbors."
        )
    search = GridSearchCV(
        head.pipeline(seed),
        dict(grid),
        scoring="roc_auc" if data.classes.max() == 1 else "balanced_accuracy",
        cv=data.folds,
        error_score="raise",
    )
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of an MLP's epochs is a setting
        search.fit(data.vectors, data.classes)
        head.fill(module, search.best_estimator_, data)
    best = search.best_params_
    return [*(float(list(values).index(best[name])) for name, values in grid.items()), float(search.best_score_)]
