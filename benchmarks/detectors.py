"""Metrics of the detectors of a roster on a data set: mean and spread over seeds, on `val` and optionally `test`.

python benchmarks/detectors.py pneumoniamnist --root FOLDER [--only NAME ...] [--seeds 7 8 9] [--roster FILE] [--test].
The default roster, benchmarks/roster.yaml, has every kind of detector. Choose settings without --test; run --test once,
for final detectors. `elsewhere` is AUROC against healthy images of `val` with a simulated change of source.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from data_sets import curated
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score
from sources_elsewhere import aurocs_elsewhere

from medscreen.config.detectors.roster import DetectorParams
from medscreen.config.operating import YoudenPolicy
from medscreen.config.params import Params, load_params
from medscreen.data.images import ImageSet
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import score
from medscreen.operating.threshold_policies import choose_threshold

ROSTER = Path(__file__).with_name("roster.yaml")


def read_roster(path: Path) -> dict[str, DetectorParams]:
    """Name -> settings, from the `detectors:` block of a file."""
    roster: dict[str, DetectorParams] = TypeAdapter(dict[str, DetectorParams]).validate_python(
        yaml.safe_load(path.read_text())["detectors"]
    )
    return roster


def figures(entry: DetectorParams, params: Params, seed: int, splits: dict[str, ImageSet]) -> dict[str, float]:
    """Trains a detector; returns its metrics on val, and on test if it is among the splits."""
    started = time.perf_counter()
    detector = build(entry, int(splits["train"].pixels.shape[1]), params.compute, seed)
    detector.fit(splits["train"], splits["tune"])
    found = {"seconds": time.perf_counter() - started}
    scores = {
        name: score(detector, splits[name].pixels).astype(np.float64) for name in splits if name in ("val", "test")
    }
    threshold = choose_threshold(YoudenPolicy(policy="youden"), scores["val"], splits["val"].labels)
    for name, values in scores.items():
        labels, abnormal = splits[name].labels, values >= threshold
        sensitivity, false_alarms = abnormal[labels == 1].mean(), abnormal[labels == 0].mean()
        found |= {
            f"{name} AUROC": float(roc_auc_score(labels, values)),
            f"{name} balanced acc.": float((sensitivity + 1 - false_alarms) / 2),
            f"{name} accuracy": float((abnormal == labels).mean()),
            f"{name} false alarms": float(false_alarms),
        }
        if detector.decision_boundary is not None:
            found[f"{name} acc. at .5"] = float(((values >= detector.decision_boundary) == labels).mean())
    elsewhere = list(aurocs_elsewhere(splits["val"], lambda pixels: score(detector, pixels)).values())
    found |= {"val elsewhere, mean": float(np.mean(elsewhere)), "val elsewhere, worst": min(elsewhere)}
    return found


def rows(arguments: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, float]]]]:
    """Yields each detector's name and its metrics, one dictionary per seed."""
    params = load_params(Path("params.yaml"))
    roster = read_roster(arguments.roster)
    with tempfile.TemporaryDirectory() as folder:
        settings = params.datasets[arguments.dataset]
        if arguments.root:
            settings = settings.model_copy(update={"root": arguments.root})
        found = curated(settings, params, params.seed, Path(folder))
        names = ("train", "tune", "val", *(("test",) if arguments.test else ()))
        splits = {name: found.split(name) for name in names}
        for name in arguments.only or roster:
            yield name, [figures(roster[name], params, seed, splits) for seed in arguments.seeds]


def main() -> int:
    """Prints each detector with its metrics: mean and standard deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--root")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 8, 9])
    parser.add_argument("--roster", type=Path, default=ROSTER)
    parser.add_argument("--test", action="store_true")
    for name, found in rows(parser.parse_args()):
        columns = sorted({column for figures in found for column in figures}, reverse=True)
        print(name, flush=True)
        for column in columns:
            values = [figures[column] for figures in found]
            print(f"  {column:22} {np.mean(values):8.3f} {np.std(values):8.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
