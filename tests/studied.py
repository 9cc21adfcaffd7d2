"""A checkout with two small studies, and the command that searches them."""

import sys
from pathlib import Path
from typing import Any

import psutil

from factories import change_params
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from tiny_detectors import TINY

COMMAND = [sys.executable, "-c", "from medscreen.cli import main; main()", "study"]
HOG: dict[str, Any] = TINY["novelty by hog"] | {
    "features": {"kind": "hog", "cells": 2, "bins": 6, "block": 1, "signed": True}
}
CNN: dict[str, Any] = TINY["cnn on drawn classes"]
BRIEF: dict[str, Any] = {
    "trials": 4, "epochs": None, "objective": "auroc", "sampler": "random", "pruner": {"kind": "none"},
    "confirm": {"best": 2, "seeds": [1]},
}  # fmt: skip
STUDIES: dict[str, Any] = {
    "hog": BRIEF
    | {
        "searched": {
            "gradients": {
                "entry": None,
                "space": {
                    "features.cells": {"low": 1, "high": 4, "step": 1},
                    "features.bins": {"low": 2, "high": 8, "step": 1},
                    "distance.neighbors": {"low": 1, "high": 9, "step": 2},
                },
            }
        }
    },
    "net": BRIEF
    | {
        "epochs": 3, "pruner": {"kind": "median", "startup_trials": 2, "warmup_epochs": 0},
        "searched": {
            "cnn": {
                "entry": CNN,
                "space": {
                    "width": {"low": 2, "high": 4, "step": 1},
                    "training.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
                    "training.optimizer": {"choices": ["adamw", "sgd"]},
                },
            },
            "plain": {
                "entry": TINY["plain cnn"],
                "space": {
                    "filters.0": {"low": 2, "high": 8, "step": 2},
                    "dense_dropout": {"low": 0.0, "high": 0.5, "log": False},
                },
            },
        },
    },
}  # fmt: skip


def add_studies(home: Path) -> Path:
    """Makes `hog` the roster of a workspace, adds studies of it and of a network, and opens the store."""
    change_params(home, detectors={"hog": HOG | {"kind": "novelty"}}, studies=STUDIES)
    open_store(Layout(home, home))
    return home


def workers_of(command: psutil.Process) -> list[psutil.Process]:
    try:
        return [child for child in command.children() if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []
