"""Difficulty of the phantom: AUROC on `val` of the default roster and of global statistics, over several seeds.

python benchmarks/phantom_difficulty.py [--seeds 5] [--params params.yaml]. Exit status 1 outside the intended ranges.
`test` is not used.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from data_sets import curated
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medscreen.config.datasets import PhantomParams
from medscreen.config.params import Params, load_params
from medscreen.data.curation.curation import Curated
from medscreen.data.images import Pixels
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import score

_RANGES = {"baseline": (0.35, 0.65), "autoencoder": (0.70, 0.90), "cnn": (0.90, 0.97)}


def global_statistics(pixels: Pixels) -> NDArray[np.float64]:
    """(N, S, S) -> (N, 4): mean, standard deviation, gradient energy and entropy (bits) of the gray values."""
    gray = pixels.astype(np.float64)
    energy = (np.diff(gray, axis=1) ** 2).mean((1, 2)) + (np.diff(gray, axis=2) ** 2).mean((1, 2))
    shares = np.stack([np.bincount(image.ravel(), minlength=256) for image in pixels]) / pixels[0].size
    entropy = -(shares * np.log2(np.where(shares > 0, shares, 1.0))).sum(1)
    return np.column_stack([gray.mean((1, 2)), gray.std((1, 2)), energy, entropy])


def aurocs_of_statistics(images: Curated, seed: int) -> dict[str, float]:
    """AUROC on `val` of two classifiers on `global_statistics`, trained on `train`."""
    train, val = images.split("train"), images.split("val")
    classifiers = {
        "statistics, logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "statistics, boosted trees": HistGradientBoostingClassifier(max_depth=3, max_iter=80, random_state=seed),
    }
    found = {}
    for name, classifier in classifiers.items():
        classifier.fit(global_statistics(train.pixels), train.labels)
        predicted = classifier.predict_proba(global_statistics(val.pixels))[:, 1]
        found[name] = float(roc_auc_score(val.labels, predicted))
    return found


def aurocs(params: Params, seed: int, folder: Path) -> dict[str, float]:
    """AUROC on `val` of the roster and the statistics; `seed` is that of phantom and training."""
    dataset = params.datasets["phantom"]
    if not isinstance(dataset, PhantomParams):
        raise SystemExit("params.yaml: datasets.phantom is not of the kind phantom.")
    dataset = dataset.model_copy(update={"seed": seed, "root": str(folder / "phantom")})
    images = curated(dataset, params, seed, folder)
    train, tune, val = (images.split(name) for name in ("train", "tune", "val"))
    found = aurocs_of_statistics(images, seed)
    for name, detector in params.detectors.items():
        fitted = build(detector, dataset.image_size, params.compute, seed).fit(train, tune)
        found[name] = float(roc_auc_score(val.labels, score(fitted, val.pixels)))
    return found


def outside(params: Params, means: Mapping[str, float]) -> list[str]:
    """Messages about values outside their range."""
    problems = []
    for name, value in means.items():
        kind = "baseline"
        if name in params.detectors and not params.detectors[name].is_baseline:
            kind = params.detectors[name].kind
        low, high = _RANGES.get(kind, (0.0, 1.0))
        if not low <= value <= high:
            problems.append(f"{name} has AUROC {value:.3f} on val; intended range {low:.2f} to {high:.2f}")
    return problems


def main() -> int:
    """Prints a table of AUROC by seed, with mean and standard deviation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    params = load_params(arguments.params)
    table: dict[str, list[float]] = {}
    for seed in range(1, arguments.seeds + 1):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            for name, value in aurocs(params, seed, Path(folder)).items():
                table.setdefault(name, []).append(value)
        print(f"seed {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    width = max(map(len, table))
    print(f"{'AUROC on val':{width}}  " + "".join(f"  seed {s + 1}" for s in range(arguments.seeds)) + "   mean    sd")
    for name, values in table.items():
        columns = "".join(f"{value:8.3f}" for value in (*values, np.mean(values), np.std(values)))
        print(f"{name:{width}}  {columns}")
    problems = outside(params, {name: float(np.mean(values)) for name, values in table.items()})
    print("\n".join(problems) or "All values are within the intended ranges.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
