"""Self-test of the installation: the pipeline from DICOM files to a decision on a small phantom."""

import importlib.util
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from medscreen.cli.tables import simple_table
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, say

_PACKAGES = ("medscreen", "torch", "torchvision", "onnxruntime", "mlflow", "dvc", "optuna", "pydicom", "medmnist")
_TOLERANCE = 1e-4  # of scores near 1: ONNX Runtime and PyTorch sum in another order
_SIZE, _PATIENTS, _SEED = 32, 120, 7


@click.command()
def selftest() -> None:
    """Tests the installation on a small phantom.

    Lists installed and missing packages. The test writes simulated films as DICOM, curates and splits them, trains and
    packages a small network, and screens a file. It reads and changes nothing in the checkout. The exit status is 2 if
    a step fails.
    """
    started = time.perf_counter()
    _show_installed()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="medscreen-selftest-") as folder:
        try:
            for done in _steps(Path(folder)):
                say(f"ok  {time.perf_counter() - begun:5.1f} s  {done}")
                begun = time.perf_counter()
        except (MedscreenError, OSError):  # such as a full disk: reinstalling would not help
            raise
        except Exception as error:
            raise MedscreenError(f"selftest: {type(error).__name__}: {error}; reinstall medscreen.") from error
    say(f"selftest passed in {time.perf_counter() - started:.1f} s")


def _steps(folder: Path) -> Iterator[str]:
    """Runs the steps; yields a description of each completed one."""
    import numpy as np
    import onnx

    from medscreen.config.compute import ComputeParams
    from medscreen.config.datasets import CurationParams, PhantomParams
    from medscreen.config.detectors.cnn import ResidualCnnParams
    from medscreen.config.operating import OperatingParams
    from medscreen.data.curation.curation import curate
    from medscreen.data.load_image import read_image
    from medscreen.data.sources.phantom.export import find_files
    from medscreen.data.sources.read_source import read_records
    from medscreen.detectors.build import build
    from medscreen.detectors.shared.base import score
    from medscreen.detectors.shared.onnx_export import export_network
    from medscreen.operating.decision_nodes import package
    from medscreen.operating.operating_point import choose_operating_point
    from medscreen.packaging.packaged_detector import PackagedDetector
    from medscreen.packaging.scoring_graph import scoring_graph

    films = PhantomParams(
        kind="phantom", root=str(folder / "films"), image_size=_SIZE, patients=_PATIENTS, abnormal_fraction=0.5,
        contrast=30.0, exact_duplicates=1, near_duplicates=0, respelled_patients=0, unreadable_files=1, seed=_SEED,
    )  # fmt: skip
    find_files(films, folder / "films", 1)
    yield f"{_PATIENTS} simulated patients written as DICOM"

    cut = CurationParams(
        tune_fraction=0.2, val_fraction=0.3, test_fraction=0.1, exact_duplicates="drop", near_duplicates="report"
    )
    curated = curate(read_records(films, folder / "films"), _SIZE, cut, _SEED, 1, folder / "decoded")
    train, tune, val = (curated.split(name) for name in ("train", "tune", "val"))
    if len(curated.audit["quarantined"]) != 1 or curated.audit["exact_duplicates"]["dropped"] != 1:
        raise MedscreenError("selftest: curation did not find the damaged file and the copy; reinstall medscreen.")
    yield f"{len(curated.images)} images read, split by patient; the damaged file and the copy found"

    entry = ResidualCnnParams.model_validate(_CNN)
    detector = build(entry, _SIZE, ComputeParams(threads=1, device="cpu"), _SEED).fit(train, tune)
    of_val = score(detector, val.pixels)
    yield f"a network trained for {entry.epochs} epochs"

    graph = scoring_graph(export_network(detector, _SIZE), _SIZE)
    operating = OperatingParams.model_validate(
        {
            "threshold": {"policy": "youden"},
            "calibration": "platt",
            "deferral": {"sensitivity": 0.95, "specificity": 0.95},
        }
    )
    point = choose_operating_point(operating, of_val.astype(np.float64), val.labels, detector.decision_boundary)
    onnx.save(package(graph, point, {"image_size": _SIZE}), folder / "detector.onnx")
    packaged = PackagedDetector(folder / "detector.onnx")
    apart = float(np.abs(packaged.screen(val.pixels).score - of_val).max())
    if not apart <= _TOLERANCE:
        raise MedscreenError(f"selftest: packaged and trained scores differ by {apart:.2g}; reinstall onnxruntime.")
    yield f"packaged as ONNX; scores agree with PyTorch to {apart:.1g}"

    file = next(path for path in sorted((folder / "films").rglob("*.dcm")) if path.stat().st_size > _SIZE**2)
    found = packaged.screen(read_image(file, packaged.display).grey[None])
    yield f"a DICOM file screened: score {found.score[0]:.3f}, {'abnormal' if found.abnormal[0] else 'normal'}"


_CNN = {
    "kind": "cnn", "variant": "residual", "findings": [], "width": 4, "unshuffle": 2, "pooling": "mean",
    "recipe": {
        "loss": "cross_entropy", "focal_gamma": 0.0, "label_smoothing": 0.0, "mixup": 0.0, "balance": "weights",
        "augment": {"pose": 0.0, "exposure": 0.0, "grain": 0.0}, "tta": 1,
    },
    "training": {
        "epochs": 2, "batch_size": 32, "optimizer": "adamw",
        "learning_rate": 0.003, "weight_decay": 0.0, "ema_decay": 0.0, "patience": 2,
    },
}  # fmt: skip


def _show_installed() -> None:
    table = simple_table(None, ("package", "state", "needed for"))
    for row in _installed():
        table.add_row(*row)
    Screen().print(table)


def _installed() -> Iterator[tuple[str, str, str]]:
    """Name, version or `missing`, and use of each part."""
    yield "Python", platform.python_version(), f"everything ({sys.executable})"
    for name in _PACKAGES:
        try:
            yield name, version(name), "everything"
        except PackageNotFoundError:
            yield name, "missing", "everything"
    for module, syntaxes in (("gdcm", "JPEG-LS, lossless JPEG, JPEG of 12 bits"), ("openjpeg", "JPEG 2000 of colors")):
        here = importlib.util.find_spec(module) is not None
        yield module, "installed" if here else "missing", f"DICOM in {syntaxes}: pip install 'medscreen[dicom]'"
    yield "CUDA", _cuda(), "training on a GPU (compute.device: cuda)"
    for program, use in (
        ("git", "lineage of versions"),
        ("chromium", "tests of HTML pages"),
        ("psql", "a PostgreSQL server for MLflow and Optuna, and its tests"),
    ):
        yield program, "installed" if shutil.which(program) else "missing", use


def _cuda() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "missing"
