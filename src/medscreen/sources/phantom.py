"""The embedded data set: simulated chest films as a hospital would export them."""

import csv
import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from medscreen.codebase import code_digest
from medscreen.errors import MedscreenError
from medscreen.outputs import replaced
from medscreen.params import PhantomParams
from medscreen.sources.labelled_tree import TABLE
from medscreen.sources.thorax import Finding, draw_thorax, expose

_MARKER = ".phantom.json"
_BITS = 12
_UID_ROOT = "1.2.826.0.1.3680043.10.1338"  # fictional instances below pydicom's free root


def find_files(params: PhantomParams, root: Path) -> list[Path]:
    """The phantom's files, written first unless they are there, made by this very code with these settings.

    Raises MedscreenError if `root` holds something else.
    """
    settings = params.model_dump(exclude={"root"}) | {"code": code_digest(__name__)}
    marker = root / _MARKER
    if not (marker.is_file() and marker.read_text() == _mark(settings, _files(root))):
        if root.exists() and not marker.is_file() and not (root.is_dir() and not any(root.iterdir())):
            raise MedscreenError(
                f"{root} holds files that are not the phantom's; move them or set another datasets root."
            )
        with replaced(root) as partial:
            _write(params, partial)
            (partial / _MARKER).write_text(_mark(settings, _files(partial)))
    return _files(root)


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path != root / _MARKER)


def _mark(settings: dict[str, Any], files: list[Path]) -> str:
    """What the marker says: compared as text, so that one cut short is a phantom to be written again."""
    return json.dumps(settings | {"files": len(files)}, indent=1)


def _write(params: PhantomParams, root: Path) -> None:
    """All files of the export; the same settings give the same bytes."""
    rng = np.random.default_rng(params.seed)
    rows: list[dict[str, str | int]] = []
    for number in range(params.patients):
        # each patient has a stream of random numbers of its own
        patient = np.random.default_rng([params.seed, number])
        abnormal = bool(patient.random() < params.abnormal_fraction)
        thorax = draw_thorax(patient)
        for study in range(int(patient.integers(1, 3))):
            finding: Finding = "none"
            if abnormal:
                finding = "nodule" if patient.random() < 0.5 else "consolidation"
            film = expose(thorax, finding, params.contrast, params.image_size, patient)
            file = f"patient-{number:05d}/study-{study + 1}/image-1.dcm"
            _write_dicom(root / file, film, number, study)
            rows.append({"file": file, "patient": f"patient-{number:05d}", "label": int(abnormal), "finding": finding})
    rows += _exact_copies(root, rows, params.exact_copies, rng)
    rows += _unreadable_files(root, rows, params.unreadable_files, rng)
    with (root / TABLE).open("w", newline="", encoding="utf-8") as file_:
        writer = csv.DictWriter(file_, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["file"])))


def _exact_copies(
    root: Path, rows: list[dict[str, str | int]], number: int, rng: np.random.Generator
) -> list[dict[str, str | int]]:
    """Files sent twice, as exports hold them."""
    copies = []
    for position in rng.choice(len(rows), min(number, len(rows)), replace=False):
        row = rows[position]
        file = str(row["file"]).replace("image-1", "image-1-resent")
        shutil.copyfile(root / str(row["file"]), root / file)
        copies.append({**row, "file": file})
    return copies


def _unreadable_files(
    root: Path, rows: list[dict[str, str | int]], number: int, rng: np.random.Generator
) -> list[dict[str, str | int]]:
    """Files cut off in transfer: the first half of another film's file."""
    broken = []
    for position in rng.choice(len(rows), min(number, len(rows)), replace=False):
        row = rows[position]
        content = (root / str(row["file"])).read_bytes()
        file = str(row["file"]).replace(".dcm", "-cut.dcm")
        (root / file).write_bytes(content[: len(content) // 2])
        broken.append({**row, "file": file})
    return broken


def _write_dicom(path: Path, film: NDArray[np.float64], patient: int, study: int) -> None:
    low, high = np.percentile(film, (0.5, 99.5))
    span = 2**_BITS - 1
    stored = np.round((film - low) / (high - low) * 0.8 * span + 0.1 * span).clip(0, span).astype("<u2")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    uid = f"{_UID_ROOT}.{patient + 1}.{study + 1}"
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = (
        f"{uid}.3",
        f"{uid}.1",
        f"{uid}.2",
    )
    dataset.PatientName, dataset.PatientID = f"Phantom^Simulated{patient}", f"SIM-{700001 + 37 * patient}"
    dataset.StudyDate = (date(2001, 1, 1) + timedelta(days=11 * patient + study)).strftime("%Y%m%d")
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = (
        16,
        _BITS,
        _BITS - 1,
        0,
    )
    dataset.WindowCenter, dataset.WindowWidth = span / 2, span * 0.85
    dataset.ImageComments = "SIMULATED: no patient"
    dataset.PixelData = stored.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
