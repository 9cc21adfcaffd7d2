"""Shift between `val` and `test`: how well a classifier separates their normal images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.images import ImageSet, Pixels, in_chunks
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.evaluation.metrics import evaluate
from medscreen.evaluation.outcomes import outcomes_of

_FOLDS = 5
_FEWEST = 25  # patients per split: with fewer, a classifier learns the patients
_MOST = 1000  # images per split, evenly spread: gives a narrow interval and limits the bootstrap
_RESAMPLES, _CONFIDENCE = 500, 0.95
_GRID = 4


def shift(val: ImageSet, test: ImageSet, seed: int) -> dict[str, Any]:
    """AUROC, with its interval over patients, of a classifier that separates normal images of `val` and `test`.

    0.5 means no difference in mean, contrast, roughness and coarse brightness. The classifier is a logistic regression
    with cross-validation grouped by patient. The result describes the data: it uses no abnormal images or detector
    scores, and no choice depends on it. With too few patients `auroc` is None and `reason` states their numbers.
    """
    sides = [(of, _some(np.flatnonzero(of.labels == 0))) for of in (val, test)]
    counts = {name: len(normal) for name, (_, normal) in zip(("val", "test"), sides, strict=True)}
    numbers = [len(np.unique(of.patients[normal])) for of, normal in sides]
    if min(numbers) < _FEWEST:
        reason = f"val and test need {_FEWEST} normal patients each and have {numbers[0]} and {numbers[1]}"
        return {"auroc": None, "images": counts, "reason": reason}
    features = np.concatenate([image_features(chunk) for of, normal in sides for chunk in in_chunks(of.pixels, normal)])
    patients = np.concatenate([of.patients[normal] for of, normal in sides])
    is_test = np.repeat([0, 1], list(counts.values()))
    scores = _out_of_fold(features, is_test, patients, seed)
    outcomes = outcomes_of(
        labels=is_test, scores=scores, patients=patients, abnormal=scores >= 0.5, decision_boundary=0.5
    )
    found = evaluate(outcomes, Bootstrap(_RESAMPLES, _CONFIDENCE, seed), ["auroc"])["auroc"]
    return {"auroc": found, "images": counts, "reason": ""}


def _out_of_fold(
    features: NDArray[np.float64], labels: NDArray[np.int64], patients: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    found = cross_val_predict(classifier, features, labels, groups=patients, cv=folds, method="predict_proba")
    return np.asarray(found[:, 1], dtype=np.float64)


def _some(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    return positions[np.linspace(0, len(positions) - 1, min(len(positions), _MOST)).astype(np.int64)]


def image_features(pixels: Pixels) -> NDArray[np.float64]:
    """(N, S, S) -> (N, 21): mean, standard deviation, log energies of both gradients and of the Laplacian, and the
    means of 4 x 4 blocks.
    """
    grey = pixels.astype(np.float32)
    down, right = np.diff(grey, axis=1), np.diff(grey, axis=2)
    curved = np.diff(down, axis=1)[:, :, 1:-1] + np.diff(right, axis=2)[:, 1:-1]
    energies = [np.log1p((change**2).mean((1, 2))) for change in (down, right, curved)]
    block = pixels.shape[1] // _GRID
    cropped = grey[:, : block * _GRID, : block * _GRID].reshape(len(grey), _GRID, block, _GRID, block)
    blocks = cropped.mean((2, 4)).reshape(len(grey), -1)
    return np.column_stack([grey.mean((1, 2)), grey.std((1, 2)), *energies, blocks]).astype(np.float64)
