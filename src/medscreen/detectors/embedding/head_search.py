"""The search for a head's best settings, inside the training split."""

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
    """`number` pairs of positions to learn from and to judge on, with like shares of the classes.

    No patient is on both sides of a fold. Raises MedscreenError where there are too few patients for it.
    """
    kinds = np.unique(classes)
    fewest = min(len(np.unique(patients[classes == kind])) for kind in kinds)
    if fewest >= number:
        splitter = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
        folds = [(learn, judge) for learn, judge in splitter.split(classes, classes, patients)]
        if all(len(np.unique(classes[side])) == len(kinds) for fold in folds for side in fold):
            return folds
    raise MedscreenError(
        f"train can't be cut into {number} folds by patient with every class in each: the rarest class has {fewest} "
        "patients; lower folds: of the detector in params.yaml."
    )


def fit_head(head: Head, module: nn.Sequential, known: Known, seed: int, threads: int) -> list[float]:
    """Fills a fresh module with what the best settings learn; gives the position of each in its list, and their figure.

    The figure is the mean over the folds of, on the sides not learned from, the AUROC of two classes or the balanced
    accuracy of more. Raises MedscreenError where a fold has fewer images than neighbours are asked for.
    """
    tried = head.tried(known.vectors.shape[1])
    smallest = min(len(learn) for learn, _ in known.folds)
    if max(tried.get("head__n_neighbors", [0])) > smallest:
        raise MedscreenError(
            f"The largest of neighbors: in params.yaml is {max(tried['head__n_neighbors'])}, and a fold of the search "
            f"has {smallest} images to learn from; lower it."
        )
    search = GridSearchCV(
        head.pipeline(seed),
        dict(tried),
        scoring="roc_auc" if known.classes.max() == 1 else "balanced_accuracy",
        cv=known.folds,
        error_score="raise",
    )
    with warnings.catch_warnings(), threadpool_limits(threads):
        warnings.simplefilter("ignore", ConvergenceWarning)  # an MLP's epochs are a setting
        search.fit(known.vectors, known.classes)
        head.fill(module, search.best_estimator_, known)
    best = search.best_params_
    return [*(float(list(values).index(best[name])) for name, values in tried.items()), float(search.best_score_)]
