"""Overhead of a study besides training, and speedup by a second process.

python benchmarks/studies.py overhead: 200 trials of a distance detector on 40 tiny images in one process; time that
each trial adds to the command. python benchmarks/studies.py workers: trainings of equal length on the curated images of
this checkout, by one single-threaded process and by two; trials per minute from first start to last end.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import yaml

from medscreen.config.params import load_params
from medscreen.data.images import ImageSet, save_images
from medscreen.studies.study_plan import plan_study
from medscreen.studies.trial_storage import open_storage
from medscreen.workspace.layout import Layout, find_layout

COMMAND = [sys.executable, "-c", "from medscreen.cli import main; main()", "study", "it"]
BRIEF: dict[str, Any] = {
    "trials": 1, "epochs": None, "objective": "auroc", "sampler": "tpe", "pruner": {"kind": "none"},
    "confirm": {"best": 1, "seeds": [1]},
}  # fmt: skip


def checkout(folder: Path, study: dict[str, Any]) -> Path:
    """Creates a workspace with one study and one thread."""
    here = find_layout().workspace
    content = yaml.safe_load((here / "params.yaml").read_text())
    content["compute"]["threads"] = 1
    content["studies"] = {"it": study}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    shutil.copy(here / "dvc.yaml", folder)
    (folder / "data").mkdir()
    shutil.copy(here / "data" / "raw.json", folder / "data")
    return folder


def tiny_images(layout: Layout) -> None:
    """Writes noise images of 16 px, half of them labeled abnormal."""
    rng = np.random.default_rng(0)
    for split in ("train", "tune", "val"):
        images = ImageSet(
            rng.integers(0, 255, (40, 16, 16), dtype=np.uint8),
            np.arange(40) % 2,
            np.arange(40),
            [f"{split}{i}" for i in range(40)],
            [f"{split}{i}" for i in range(40)],
        )
        save_images(images, np.arange(40), layout.curated(split))


def seconds(home: Path, trials: int, workers: int) -> tuple[float, float]:
    """Seconds from the start of the first trial to the end of the last, and the summed duration of the trials."""
    # the command inherits the environment, and so the package, of this process
    subprocess.run([*COMMAND, "--trials", str(trials), "--workers", str(workers)], cwd=home, check=True, stdout=2)
    layout = Layout(home, home)
    name = plan_study(layout, load_params(layout.params), "it").name
    done = optuna.load_study(study_name=name, storage=open_storage(None, layout)).trials
    begun = [trial.datetime_start for trial in done if trial.datetime_start]
    ended = [trial.datetime_complete for trial in done if trial.datetime_complete]
    inside = sum(trial.duration.total_seconds() for trial in done if trial.duration)
    return (max(ended) - min(begun)).total_seconds(), inside


def overhead(trials: int) -> None:
    """Prints the milliseconds per trial of a study with almost no training."""
    hog = {
        "kind": "novelty", "distance": {"kind": "knn", "neighbors": 1, "most": 100},
        "features": {"kind": "hog", "cells": 2, "bins": 4, "block": 1, "signed": True},
    }  # fmt: skip
    space = {"distance.neighbors": {"low": 1, "high": 19, "step": 1}}
    commands, within = {}, 0.0
    for number in (1, trials):
        with tempfile.TemporaryDirectory() as folder:
            home = checkout(Path(folder), BRIEF | {"searched": {"neighbors": {"entry": hog, "space": space}}})
            tiny_images(Layout(home, home))
            started = time.perf_counter()
            within = seconds(home, number, 1)[1]
            commands[number] = time.perf_counter() - started
    each = 1000 * (commands[trials] - commands[1]) / (trials - 1)
    print(f"{each:.0f} ms per further trial, including MLflow's runs")
    print(f"{1000 * within / trials:.0f} ms of it between start and end of the trial")


def workers(trials: int) -> None:
    """Prints trials per minute of one process and of two, and their ratio."""
    layout = find_layout()
    entry = load_params(layout.params).detectors["cnn"].within(2).model_dump(mode="json")
    rate = {"training.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}
    study = BRIEF | {"sampler": "random", "searched": {"net": {"entry": entry, "space": rate}}}
    found = []
    for number in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            home = checkout(Path(folder), study)
            shutil.copytree(layout.curated(""), home / "data" / "curated")
            found.append(60 * trials / seconds(home, trials, number)[0])
        print(f"{number} process(es) of one thread: {found[-1]:.1f} trials per minute")
    print(f"ratio {found[1] / found[0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overhead", "workers"])
    parser.add_argument("--trials", type=int, help="Default: 200 for overhead, 16 for workers.")
    arguments = parser.parse_args()
    if arguments.what == "overhead":
        overhead(arguments.trials or 200)
    else:
        workers(arguments.trials or 16)


if __name__ == "__main__":
    main()
