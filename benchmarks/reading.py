"""Files read to display grey against a bare pydicom loop over the same files, in as many processes.

python benchmarks/reading.py FOLDER... --workers 2
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydicom import dcmread

from medscreen.ingestion import read_image
from medscreen.params import FILE_DISPLAY
from medscreen.processes import worker_pool

_CHUNK = 8


def _bare(path: Path) -> int:
    return int(dcmread(path).pixel_array.size)


def _shown(path: Path) -> int:
    return read_image(path, FILE_DISPLAY).grey.size


def seconds(read: Callable[[Path], int], files: Sequence[Path], workers: int, rounds: int) -> float:
    """The best of several rounds over all files, in a pool that has started."""
    best = float("inf")
    with worker_pool(workers) as pool:
        for _ in range(rounds + 1):  # the first one starts the processes and imports
            started = time.perf_counter()
            assert all(pool.map(read, files, chunksize=_CHUNK))
            best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folders", type=Path, nargs="+")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    for folder in chosen.folders:
        files = sorted(folder.rglob("*.dcm"))
        timed = partial(seconds, files=files, workers=chosen.workers, rounds=chosen.rounds)
        bare, shown = timed(_bare), timed(_shown)
        print(
            f"{folder.name}: {len(files)} files, pydicom {len(files) / bare:.0f} files/s, "
            f"medscreen {len(files) / shown:.0f} files/s, ratio {bare / shown:.2f}"
        )


if __name__ == "__main__":
    main()
