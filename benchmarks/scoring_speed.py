"""Scoring time by batch size, for the packaged graph and for torch.

python benchmarks/scoring_speed.py [--images 1024] [--at-once 16 32 64 256] [--only NAME ...]. Uses the roster of
params.yaml with untrained weights, noise images of the size of the active data set, and one thread.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from medscreen.config.params import load_params
from medscreen.data import images
from medscreen.data.images import Pixels
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import score
from medscreen.detectors.shared.onnx_export import export_network
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.scoring_graph import scoring_graph


def milliseconds(scored: Callable[[Pixels], object], pixels: Pixels, at_once: int) -> float:
    """Milliseconds per image with batches of `at_once` images."""
    images._AT_ONCE, images._PIXELS_AT_ONCE = at_once, at_once * pixels[0].size
    scored(pixels[:at_once])
    started = time.perf_counter()
    scored(pixels)
    return (time.perf_counter() - started) / len(pixels) * 1000


def main() -> int:
    """Prints one row per detector and runtime."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--at-once", type=int, nargs="+", default=[16, 32, 64, 256])
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    params = load_params(Path("params.yaml"))
    compute = params.compute.model_copy(update={"threads": 1})
    size = params.datasets[params.dataset].image_size
    pixels = np.random.default_rng(0).integers(0, 256, (arguments.images, size, size)).astype(np.uint8)
    torch.set_num_threads(1)
    print(f"{'ms an image, by batch size':30}" + "".join(f"{number:8}" for number in arguments.at_once))
    for name in arguments.only or params.detectors:
        detector = build(params.detector(name), size, compute, params.seed)
        graph = scoring_graph(export_network(detector, size), size)
        packaged = PackagedDetector(graph.SerializeToString(), 1)
        for way, scored in (("packaged", packaged.score), ("torch", lambda given: score(detector, given))):  # noqa: B023
            found = (milliseconds(scored, pixels, number) for number in arguments.at_once)
            print(f"{f'{name}, {way}':30}" + "".join(f"{value:8.2f}" for value in found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
