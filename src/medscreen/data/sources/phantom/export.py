"""Generates the phantom's folder in one of three forms: hospital DICOM, class folders, a MedMNIST-form file.

It is written if it is missing, or if its code or settings have changed.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom.anatomy import Plane
from medscreen.data.sources.phantom.cohort import BROKEN, FINDINGS, Flaw, Sending, plan_export
from medscreen.data.sources.phantom.dicom_files import FULL_RANGE, write_dicom
from medscreen.data.sources.phantom.films import pixel_spacing, simulate
from medscreen.errors import MedscreenError
from medscreen.runtime.child_processes import worker_pool
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.code_digest import code_digest

Form = Literal["dicom", "folders", "npz"]

NPZ_FLAG = "phantom"
_TABLE, _MARKER = "labels.csv", ".phantom.json"
_CHUNK = 16  # patients that a worker takes at a time
_WINDOW: dict[Flaw, tuple[float, float]] = {"rewindowed": (-0.03, 1.03)}
_PAGE = b"<!DOCTYPE html><title>504 Gateway Time-out</title><h1>The archive did not answer in time.</h1>\n"


@dataclass(frozen=True)
class _Sent:
    """One file's row of the table and, for the form of arrays, its display gray; empty for others."""

    row: dict[str, str | int]
    split: str
    grey: NDArray[np.uint8]


def find_files(params: PhantomParams, root: Path, workers: int, form: Form = "dicom") -> list[Path]:
    """The phantom's files, written first unless they exist and were made by the current code with these settings.

    The same settings give the same bytes with any number of workers. Raises MedscreenError if `root` is not a folder,
    or contains other files.
    """
    code = code_digest(["src/medscreen/data/sources/phantom"])
    settings = params.model_dump(exclude={"root"}) | {"form": form, "code": code}
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise MedscreenError(f"{root} is not a folder, or is a link; name another one.")
    here, marked = _sizes(root), _read_marker(root)
    if foreign := sorted(here.keys() - marked["files"].keys()):
        raise MedscreenError(f"{root} holds {foreign[0]}, which is not the phantom's; move it or name another folder.")
    if marked != {"settings": settings, "files": here} or not here:
        with replaced(root) as partly:
            partly.mkdir(parents=True)
            _write_phantom(params, form, partly, workers)
            marker = {"settings": settings, "files": _sizes(partly)}
            (partly / _MARKER).write_text(json.dumps(marker, indent=1))
    return [root / name for name in sorted(_sizes(root))]


def _sizes(root: Path) -> dict[str, int]:
    """File -> size in bytes, of all files below `root` except the marker."""
    files = (path for path in root.rglob("*") if path.is_file() and path != root / _MARKER)
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}


def _read_marker(root: Path) -> dict[str, Any]:
    """Settings and files of the last export; None and {} if the marker is missing or damaged."""
    try:
        marker: dict[str, Any] = json.loads((root / _MARKER).read_text())
        return {"settings": marker["settings"], "files": dict(marker["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"settings": None, "files": {}}


def _write_phantom(params: PhantomParams, form: Form, root: Path, workers: int) -> None:
    with worker_pool(workers) as pool:
        sent = list(pool.map(partial(_send, params, form, root), plan_export(params), chunksize=_CHUNK))
    files = [file for of_patient in sent for file in of_patient]
    if form == "npz":
        _write_npz(files, root)
    with (root / _TABLE).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, fieldnames=list(files[0].row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(file.row for file in files)


def _send(params: PhantomParams, form: Form, root: Path, files: Sequence[Sending]) -> list[_Sent]:
    """Simulates one patient's films and writes their files; arrays have no broken files."""
    films = simulate(params, files[0].patient)
    sent = (file for file in files if form != "npz" or file.flaw not in BROKEN)
    return [_write(params, form, root, file, films[file.image]) for file in sent]


def _write(params: PhantomParams, form: Form, root: Path, file: Sending, film: Plane) -> _Sent:
    patient, window = file.patient, _WINDOW.get(file.flaw, FULL_RANGE)
    study = f"study-{patient.studies[file.image]}"
    grey = np.round((film - window[0]) / (window[1] - window[0]) * 255).clip(0, 255).astype(np.uint8)
    name = ""
    if form == "dicom":
        name = file.dicom_name
        write_dicom(root / name, film, window, patient, file.image, pixel_spacing(len(film)), params.seed)
    elif form == "folders":
        folder = "normal" if patient.finding == "none" else patient.finding
        name = f"{patient.split}/{folder}/{file.pseudonym}-{study}-{file.name}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey).save(root / name)
    if file.flaw in BROKEN:
        whole = (root / name).read_bytes()
        (root / name).write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "page": _PAGE}[file.flaw])
    row: dict[str, str | int] = {
        "file": name,
        "patient": file.pseudonym,
        "label": int(patient.finding != "none"),
        "finding": patient.finding,
        "sex": patient.sex,
        "age": patient.age,
        "site": patient.site,
    }
    return _Sent(row, patient.split, grey if form == "npz" else grey[:0])


def _write_npz(files: Sequence[_Sent], root: Path) -> None:
    """Writes the arrays, and into each row its index in them."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split in ("train", "val", "test"):
        chosen = [file for file in files if file.split == split]
        arrays[f"{split}_images"] = np.stack([file.grey for file in chosen])
        arrays[f"{split}_labels"] = np.array([[FINDINGS.index(file.row["finding"])] for file in chosen], np.uint8)
        for place, file in enumerate(chosen):
            file.row["file"] = f"{NPZ_FLAG}.npz#{split}/{place}"
    np.savez_compressed(root / f"{NPZ_FLAG}.npz", allow_pickle=False, **arrays)
