"""Share of images that each packaged detector finds out of domain, for in-domain and foreign images.

python benchmarks/domain.py [--checkout FOLDER] [--foreign NAME=PATH ...] [--fresh PATIENTS], in a finished checkout.
PATH is a folder of images or a file of MedMNIST; missing ones are left out. The row of `test` is taken from the report
of `evaluate`. `ms` is the time of the check per image, and that of the detector without it.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from data_sets import curated
from PIL import Image
from sklearn.datasets import load_sample_image

from medscreen.config.datasets import PhantomParams
from medscreen.config.display import FILE_DISPLAY
from medscreen.config.params import Params, load_params
from medscreen.data.display import to_square
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.images import Pixels, load_images
from medscreen.data.load_image import read_grey
from medscreen.operating.domain_nodes import part_for
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.workspace.layout import Layout

_MOST = 1000
_FRESH_SEED = 991  # seed of a phantom that no detector was trained on


def made_sets(val: Pixels) -> Iterator[tuple[str, Pixels]]:
    """Out-of-domain images of the size of `val` (N, S, S): altered films, noise, uniform gray, photographs."""
    side, rng = val.shape[1], np.random.default_rng(1)
    yield "films inverted", 255 - val
    yield "films rotated by 90 degrees", np.rot90(val, 1, (1, 2))
    yield "films upside down", val[:, ::-1]
    yield "uniform noise", rng.integers(0, 256, (200, side, side)).astype(np.uint8)
    yield "Gaussian noise", np.clip(rng.normal(128, 30, (200, side, side)), 0, 255).astype(np.uint8)
    yield "uniform gray", np.tile(np.arange(2, 256, 4, dtype=np.uint8)[:, None, None], (1, side, side))
    yield "photographs", np.stack([*_photographs(side)])


def _photographs(side: int) -> Iterator[Pixels]:
    """Crops of the two sample photographs of scikit-learn."""
    for name in ("china.jpg", "flower.jpg"):
        gray = np.asarray(Image.fromarray(load_sample_image(name)).convert("L"))
        for top in range(0, gray.shape[0] - 213, 53):
            for left in range(0, gray.shape[1] - 213, 53):
                yield to_square(np.ascontiguousarray(gray[top : top + 213, left : left + 213]), side)


def read_set(path: Path, side: int) -> Pixels | None:
    """Images below a folder, or train images of a MedMNIST file; None if there are none."""
    if path.suffix == ".npz" and path.is_file():
        stored = np.load(path)["train_images"][:_MOST]
        return np.stack([to_square(image, side) for image in stored])
    found = []
    for file in sorted(file for file in path.rglob("*") if file.is_file())[:_MOST]:
        try:
            found.append(to_square(read_grey(file, FILE_DISPLAY), side))
        except UnreadableImageError:
            continue
    return np.stack(found) if found else None


def fresh_phantom(params: Params, patients: int) -> Pixels | None:
    """Films of the active phantom with another seed; None if the data set is not a phantom."""
    settings = params.datasets[params.dataset]
    if not isinstance(settings, PhantomParams):
        return None
    with tempfile.TemporaryDirectory() as folder:
        changed = {"seed": _FRESH_SEED, "patients": patients, "root": f"{folder}/phantom"}
        made = curated(settings.model_copy(update=changed), params, params.seed, Path(folder))
        return np.concatenate([made.split(split).pixels for split in made.splits])


def share_outside(detector: PackagedDetector, pixels: Pixels) -> float:
    """Share of images (N, S, S) that are out of domain."""
    in_domain = detector.screen(np.maximum(pixels, 2)).in_domain  # black images would be refused
    if in_domain is None:
        raise SystemExit("The package has no domain check. Run `dvc repro` with this version of medscreen.")
    return float(1 - in_domain.mean())


def milliseconds(package: Path, pixels: Pixels) -> tuple[float, float]:
    """CPU time per image without and with the check; minimum of many runs, to exclude other load."""
    sessions = []
    for outputs in (["score"], ["score", "in_domain"]):
        model = part_for(onnx.load(package), outputs)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        sessions.append((onnxruntime.InferenceSession(model.SerializeToString(), options), outputs))
    batch = np.ascontiguousarray(pixels[:32, None])
    times: list[list[float]] = [[], []]
    for _ in range(41):
        for spent, (session, outputs) in zip(times, sessions, strict=True):
            started = time.process_time()
            session.run(outputs, {"pixels": batch})
            spent.append(1000 * (time.process_time() - started) / len(batch))
    without, with_check = (min(spent) for spent in times)
    return without, with_check


def main() -> None:
    """Prints a table with one row per image set and one column per detector."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=Path, default=Path())
    parser.add_argument("--foreign", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--fresh", type=int, default=1500, help="Patients of the phantom with another seed; 0: none.")
    arguments = parser.parse_args()
    layout = Layout(arguments.checkout, arguments.checkout)
    params = load_params(layout.params)
    val = np.asarray(load_images(layout.curated("val")).pixels)
    sets = {"val": val}
    if arguments.fresh and (fresh := fresh_phantom(params, arguments.fresh)) is not None:
        sets["fresh phantom"] = fresh
    sets |= dict(made_sets(val))
    for name, path in (given.split("=", 1) for given in arguments.foreign):
        if (pixels := read_set(Path(path), val.shape[1])) is not None:
            sets[name] = pixels
    columns: dict[str, list[str]] = {}
    for name in params.detectors:
        detector = PackagedDetector(layout.packaged(name))
        about = detector.metadata["domain"]
        reported = json.loads((layout.report(name) / "evaluation.json").read_text())["test"].get("in_domain")
        without, with_check = milliseconds(layout.packaged(name), val)
        columns[name] = [
            "both" if len(about["compares"]) > 1 else "statistics",
            f"{100 * about['guaranteed']:.2f}",
            "-" if reported is None else f"{100 * (1 - reported['value']):.2f}",
            *(f"{100 * share_outside(detector, pixels):.2f}" for pixels in sets.values()),
            f"{with_check - without:.3f} of {without:.3f}",
        ]
    heads = ["compares", "bound", "test, by evaluate", *(f"{name} ({len(of)})" for name, of in sets.items()), "ms"]
    width = max(map(len, heads))
    print(f"{'% outside':{width}}" + "".join(f"{name:>16}" for name in columns))
    for row, head in enumerate(heads):
        print(f"{head:{width}}" + "".join(f"{column[row]:>16}" for column in columns.values()))


if __name__ == "__main__":
    main()
