"""Scaling of curation: time and peak memory of the stage with ten times the images.

python benchmarks/curation.py [--images 300] [--size 64] [--threads 2]. Writes simulated films as PNG files in class
folders, `--images` and ten times as many, and runs the stages raw and curate on each in separate processes. Exit status
1 if ten times the images take more than 11 times the time or 1.2 times the memory.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom import export as phantom

REPOSITORY = Path(__file__).resolve().parent.parent
_FILMS_A_PATIENT = 1.52  # of the phantom, on average


def films(folder: Path, images: int, size: int) -> int:
    """Writes about `images` films; returns their number."""
    settings = PhantomParams(
        kind="phantom", root="", image_size=size, patients=max(40, round(images / _FILMS_A_PATIENT)),
        abnormal_fraction=0.4, contrast=3.0, exact_duplicates=images // 100, near_duplicates=images // 100,
        respelled_patients=0, unreadable_files=images // 100, seed=20,
    )  # fmt: skip
    phantom.find_files(settings, folder, os.cpu_count() or 1, "folders")
    return sum(1 for _ in folder.rglob("*.png"))


def project(home: Path, size: int, threads: int) -> Path:
    """Creates a workspace in `home` with its films as the active data set."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPOSITORY / name, home / name)
    params = yaml.safe_load((home / "params.yaml").read_text())
    dataset = {
        "kind": "folders", "root": "films", "image_size": size, "normal_classes": ["normal"], "patient_pattern": None,
        "published_splits": "keep",
    }  # fmt: skip
    params |= {"dataset": "films", "datasets": {"films": dataset}}
    params["compute"]["threads"] = threads
    (home / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    subprocess.run([sys.executable, "-m", "medscreen.pipeline.raw"], cwd=home, check=True, stdout=subprocess.DEVNULL)
    return home


def measured(home: Path) -> tuple[float, float, float]:
    """Seconds of the stage, peak MB of its main process, and peak MB of all its processes (shared pages once)."""
    started = time.perf_counter()
    stage = subprocess.Popen([sys.executable, "-m", "medscreen.pipeline.curate"], cwd=home, stdout=subprocess.DEVNULL)
    process, peak = psutil.Process(stage.pid), 0
    while stage.poll() is None:
        try:
            tree = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_full_info().pss for one in tree))
        except psutil.Error:  # a child process has ended
            continue
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if stage.returncode:
        raise SystemExit(f"the stage failed in {home}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000, peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for images in (chosen.images, 10 * chosen.images):
            home = Path(folder) / str(images)
            number = films(home / "films", images, chosen.size)
            seconds, largest, together = measured(project(home, chosen.size, chosen.threads))
            print(f"{number} images: {seconds:.1f} s, {largest:.0f} MB main process, {together:.0f} MB all processes")
            found.append((seconds, largest, together))
    (time_10, main_10, all_10), (time_1, main_1, all_1) = found[1], found[0]
    print(
        f"ratios: time {time_10 / time_1:.2f}, main process {main_10 / main_1:.2f}, all processes {all_10 / all_1:.2f}"
    )
    sys.exit(time_10 > 11 * time_1 or main_10 > 1.2 * main_1)


if __name__ == "__main__":
    main()
