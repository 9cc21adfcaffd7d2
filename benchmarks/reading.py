"""Reading of DICOM files to display gray, compared with a plain pydicom loop in the same number of processes.

python benchmarks/reading.py FOLDER... --workers 2
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import dcmread

from medscreen.config.display import FILE_DISPLAY
from medscreen.data.load_image import read_image
from medscreen.runtime.child_processes import worker_pool

_CHUNK = 8
_FEWEST = 64  # minimum of files in a round: with fewer, inter-process communication dominates


def _bare(path: Path) -> int:
    return int(dcmread(path).pixel_array.size)


def _shown(path: Path) -> int:
    return read_image(path, FILE_DISPLAY).grey.size


def seconds(ways: Sequence[Callable[[Path], int]], files: Sequence[Path], workers: int, rounds: int) -> list[float]:
    """Best time of each function over several rounds over all files; they take turns in one warm pool."""
    best = [float("inf")] * len(ways)
    with worker_pool(workers) as pool:
        for _ in range(rounds + 1):  # warm-up round: starts processes and imports
            for at, read in enumerate(ways):
                started = time.perf_counter()
                assert all(pool.map(read, files, chunksize=_CHUNK))
                best[at] = min(best[at], time.perf_counter() - started)
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    for folder in chosen.folders:
        files = sorted(folder.rglob("*.dcm"))
        again = -(-_FEWEST // len(files))
        bare, shown = (
            whole / again for whole in seconds((_bare, _shown), files * again, chosen.workers, chosen.rounds)
        )
        print(
            f"{folder.name}: {len(files)} files, pydicom {len(files) / bare:.0f} files/s, "
            f"medscreen {len(files) / shown:.0f} files/s, ratio {bare / shown:.2f}"
        )


if __name__ == "__main__":
    main()
