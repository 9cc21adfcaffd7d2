"""What three or more test files need: synthetic image sets, small parameters, and where the real data lies."""

import csv
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medscreen.config.datasets import CurationParams, PhantomParams
from medscreen.data.images import ImageSet, Pixels
from medscreen.evaluation.outcomes import Outcomes, outcomes_of

# of the checkout, tests read only what git brings and nobody changes for his own runs: architecture/test_tests.py
REPOSITORY = Path(__file__).resolve().parent.parent
PARAMS_YAML = REPOSITORY / "tests" / "params.yaml"
CURATION = CurationParams(
    tune_fraction=0.1, val_fraction=0.2, test_fraction=0.2, exact_duplicates="drop", near_duplicates="report"
)

PHANTOM = PhantomParams(
    kind="phantom", root="data/phantom", image_size=24, patients=40, abnormal_fraction=0.4, contrast=2.0,
    exact_duplicates=3, near_duplicates=2, respelled_patients=2, unreadable_files=3, seed=20,
)  # fmt: skip

FOLDERS: dict[str, Any] = {
    "kind": "folders", "root": "films", "image_size": 16, "normal_classes": ["normal"], "patient_pattern": None,
    "published_splits": "keep",
}  # fmt: skip


def new_checkout(home: Path, **blocks: Any) -> Path:
    """A folder with the project's `dvc.yaml` and the suite's `params.yaml`, some of its top-level blocks replaced."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "dvc.yaml", home / "dvc.yaml")
    shutil.copy(PARAMS_YAML, home / "params.yaml")
    if blocks:
        change_params(home, **blocks)
    return home


def change_params(home: Path, **blocks: Any) -> None:
    """Replaces top-level blocks of params.yaml."""
    path = home / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | blocks, sort_keys=False))


def commit_all(home: Path) -> None:
    """Makes the folder a git repository whose one commit holds all that is in it."""
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "start"],
    ):
        subprocess.run(["git", *command], cwd=home, check=True)


def real_data(*below: str) -> Path:
    """A path of the sample data; skips the test where it is absent."""
    root = Path(os.environ.get("MEDSCREEN_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    path = root.joinpath(*below)
    if not path.exists():
        pytest.skip(f"no sample data: {'/'.join(below)} is missing (set MEDSCREEN_TEST_DATA)")
    return path


def dicom(path: Path, stored: NDArray[Any], bits: int = 12, **elements: Any) -> Path:
    """A DICOM file with these stored values, one image or several; `elements` are set last."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = stored.itemsize * 8, bits, bits - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def film(size: int, abnormal: bool, rng: np.random.Generator) -> Pixels:
    """A smooth blob with little noise; an abnormal one carries a bright disk and more texture."""
    y, x = np.mgrid[:size, :size] / (size - 1) - 0.5
    wide = 0.3 + 0.05 * rng.random()
    image = 40 + 110 * np.exp(-(x**2 + y**2) / (2 * wide**2)) + rng.normal(0, 3, (size, size))
    if abnormal:
        cx, cy = rng.uniform(-0.25, 0.25, 2)
        image[(x - cx) ** 2 + (y - cy) ** 2 < 0.15**2] += 80
        image += rng.normal(0, 25, (size, size))
    return np.clip(image, 0, 255).astype(np.uint8)


def image_set(number: int, size: int, seed: int) -> ImageSet:
    """Half healthy, half abnormal in turn, two images a patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 2
    return ImageSet(
        np.stack([film(size, bool(label), rng) for label in labels]),
        labels.astype(np.int64),
        np.arange(number, dtype=np.int64) // 4 * 2 + labels,
        [f"film-{seed}-{i}.png" for i in range(number)],
        [f"{seed:016x}{i:016x}" for i in range(number)],
        {"finding": [("none", "spot", "none", "stain")[i % 4] for i in range(number)]},
    )


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def one_sentence(error: pytest.ExceptionInfo[Any]) -> str:
    """The message, which must be one line that ends as a sentence does."""
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def unstated(message: str, *facts: object) -> list[str]:
    """The facts that a message does not state: `assert not unstated(message, file, key, way_out)`."""
    return [str(fact) for fact in facts if str(fact) not in message]


def p_values(scores: np.ndarray, healthy_scores: np.ndarray) -> np.ndarray:
    """Conformal p-values by their definition, against which the graph's are compared."""
    return np.array([(1 + (healthy_scores >= score).sum()) / (len(healthy_scores) + 1) for score in scores])


def outcomes(
    labels: Any,
    scores: Any,
    threshold: float = 0.5,
    patients: Any = None,
    half: float | None = None,
    probabilities: Any = None,
) -> Outcomes:
    """Outcomes called abnormal from `threshold` on; without `patients` each image is another's."""
    labels, scores = np.asarray(labels, np.int64), np.asarray(scores, np.float64)
    owners = np.arange(len(labels)) if patients is None else np.asarray(patients)
    stated = None if probabilities is None else np.asarray(probabilities, np.float64)
    return outcomes_of(
        labels=labels,
        scores=scores,
        patients=owners,
        abnormal=scores >= threshold,
        decision_boundary=half,
        probabilities=stated,
    )


def drawn_outcomes(number: int, seed: int, ties: bool = False) -> Outcomes:
    """Outcomes with two images a patient on average, AUROC .76, probabilities that are too sure, a deferral band."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, number)
    scores = rng.normal(labels, 1.0)
    if ties:
        scores = np.round(scores * 2) / 2
    stated = 1 / (1 + np.exp(1 - 3 * scores))
    scored = outcomes(labels, scores, 0.5, rng.integers(0, number // 2, number), 0.25, stated)
    return replace(scored, deferred=np.abs(scores - 0.5) <= 0.5)


def labels_table(root: Path) -> list[dict[str, str]]:
    """The rows of a phantom's table."""
    with (root / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))
