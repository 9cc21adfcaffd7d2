from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phantom_difficulty import aurocs, global_statistics, outside
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from factories import PARAMS_YAML
from medscreen.config.datasets import PhantomParams
from medscreen.config.params import Params, load_params
from medscreen.data.sources.phantom.cohort import draw_patient
from medscreen.data.sources.phantom.films import simulate

BAR = 0.60  # `make difficulty` asks .65 of a few hundred images of val; 1,800 leave chance less room


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS_YAML)


def phantom_of(params: Params, **changes: float) -> PhantomParams:
    films = params.datasets["phantom"]
    assert isinstance(films, PhantomParams)
    return films.model_copy(update=changes)


def test_global_statistics_give_nothing_away(params: Params) -> None:
    films = phantom_of(params, image_size=32)
    patients = [draw_patient(films, number) for number in range(1200)]
    shown = [(film, patient) for patient in patients for film in simulate(films, patient)]
    pixels = np.stack([np.round(film * 255).clip(0, 255).astype(np.uint8) for film, _ in shown])
    labels = np.array([patient.finding != "none" for _, patient in shown])
    persons = np.array([patient.number for _, patient in shown])
    for classifier in (
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_depth=3, max_iter=80, random_state=0),
    ):
        guessed = cross_val_predict(
            classifier, global_statistics(pixels), labels, groups=persons, cv=GroupKFold(5), method="predict_proba"
        )
        assert 1 - BAR < roc_auc_score(labels, guessed[:, 1]) < BAR


@pytest.mark.slow
def test_the_baseline_says_little_the_autoencoder_more_the_cnn_most(params: Params, tmp_path: Path) -> None:
    # smaller, easier and shorter than `make difficulty`, which keeps the ranges: here only the order counts
    detectors: dict[str, Any] = {name: params.detectors[name] for name in ("gradient", "autoencoder", "cnn")}
    for name in ("autoencoder", "cnn"):
        training = detectors[name].training.model_copy(update={"epochs": 20})
        detectors[name] = detectors[name].model_copy(update={"training": training})
    films = phantom_of(params, image_size=32, patients=700, contrast=5.0)
    found = aurocs(params.model_copy(update={"datasets": {"phantom": films}, "detectors": detectors}), 3, tmp_path)
    assert found["gradient"] + 0.1 < found["autoencoder"] + 0.02 < found["cnn"]


def test_the_bench_names_what_is_too_easy_or_too_hard(params: Params) -> None:
    fine = {"statistics, logistic": 0.5, "gradient": 0.5, "autoencoder": 0.8, "cnn": 0.95}
    assert outside(params, fine) == []
    for name, value in (("gradient", 0.7), ("gradient", 0.2), ("autoencoder", 0.6), ("cnn", 0.99), ("cnn", 0.8)):
        (problem,) = outside(params, fine | {name: value})
        assert problem.startswith(f"{name} has AUROC {value:.3f}")
