"""Throughput of `medscreen predict --out` compared with Pillow and ONNX Runtime alone, on the same cores.

python benchmarks/batch_screening.py [--images 5000] [--graph models/cnn/detector.onnx] [--rounds 3]. Both decode and
score the same PNG files of random gray at the detector's size. They take turns; the result is the median of the rounds.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from medscreen.packaging.batch_screening import screen_files
from medscreen.packaging.packaged_detector import PackagedDetector, open_session
from medscreen.packaging.result_file import ResultFile
from medscreen.runtime.child_processes import available_cpus, worker_pool

_AT_ONCE = 64


@cache
def session(graph: Path) -> object:
    return open_session(graph, 1)


def bare_scores(files: Sequence[Path], graph: Path) -> list[float]:
    """Scores by Pillow and ONNX Runtime alone."""
    pixels = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])[:, None]
    return [float(value) for value in session(graph).run(["score"], {"pixels": pixels})[0]]


def bare(files: Sequence[Path], graph: Path) -> float:
    """Seconds of Pillow and ONNX Runtime alone, one process per core."""
    started = time.perf_counter()
    chunks = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    with worker_pool(available_cpus()) as pool:
        scores = [score for some in pool.map(bare_scores, chunks, [graph] * len(chunks)) for score in some]
    assert len(scores) == len(files)
    return time.perf_counter() - started


def batch(files: Sequence[Path], graph: Path, folder: Path) -> float:
    """Seconds of screening into a Parquet file."""
    started = time.perf_counter()
    result = ResultFile(folder / "scores.parquet", {"version": "1"}, {})
    done = result.resume(files)
    for rows in screen_files(files, graph, False):
        result.add(done, rows)
        done += len(rows)
    result.finish(lambda _: None)
    (folder / "scores.parquet").unlink()
    return time.perf_counter() - started


def main() -> int:
    """Prints the throughput of both in images per second, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--graph", type=Path, default=Path("models/cnn/detector.onnx"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    graph = arguments.graph.resolve()
    size, rng = PackagedDetector(graph).image_size, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = [folder / f"{number:05}.png" for number in range(arguments.images)]
        for file in files:
            Image.fromarray(rng.integers(2, 256, (size, size)).astype(np.uint8)).save(file)
        rounds = [(bare(files, graph), batch(files, graph, folder)) for _ in range(arguments.rounds)]
    alone, screened = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"ONNX Runtime alone {len(files) / alone:.0f} images/s, batch screening {len(files) / screened:.0f} images/s")
    print(f"ratio {alone / screened:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
