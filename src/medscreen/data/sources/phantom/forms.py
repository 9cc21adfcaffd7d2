"""The three forms a phantom is written in: hospital DICOM, class folders, a MedMNIST-form file."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.labelled_tree import TABLE
from medscreen.data.sources.phantom.anatomy import Plane, draw_thorax
from medscreen.data.sources.phantom.cohort import BROKEN, Flaw, Patient, Sending, plan_export, stream
from medscreen.data.sources.phantom.dicom_files import SHOWN, write_dicom
from medscreen.data.sources.phantom.lesions import FINDINGS, draw_lesion
from medscreen.data.sources.phantom.radiography import expose, pixel_spacing
from medscreen.runtime.child_processes import worker_pool

FORMS = ("dicom", "folders", "npz")
Form = Literal["dicom", "folders", "npz"]

NPZ_FLAG = "phantom"
_CHUNK = 16  # patients that a worker takes at a time
_WINDOW_PERCENTILES = (0.5, 99.5)  # the ones a reader takes where a file has no window
_WINDOW: dict[Flaw, tuple[float, float]] = {"rewindowed": (-0.03, 1.03)}
_PAGE = b"<!DOCTYPE html><title>504 Gateway Time-out</title><h1>The archive did not answer in time.</h1>\n"


@dataclass(frozen=True)
class _Sent:
    """One file's row of the table and, where the form keeps arrays, its display grey."""

    row: dict[str, str | int]
    split: str
    grey: NDArray[np.uint8] | None = None


def write_phantom(params: PhantomParams, form: Form, root: Path, workers: int) -> None:
    """All files below `root`; the same settings give the same bytes, however many workers there are."""
    plan = plan_export(params)
    write = {"dicom": _write_dicom, "folders": _write_picture, "npz": _keep}[form]
    with worker_pool(workers) as pool:
        sent = list(pool.map(partial(_send, params, root, write), plan, chunksize=_CHUNK))
    files = [file for patient in sent for file in patient]
    if form == "npz":
        files = list(_archive(files, root))
    rows = [file.row for file in files]
    with (root / TABLE).open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


_Write = Callable[[PhantomParams, Path, Sending, Plane], _Sent | None]


def _send(params: PhantomParams, root: Path, write: _Write, files: Sequence[Sending]) -> list[_Sent]:
    """Exposes one patient's films and writes the files that are sent of them."""
    films = simulate(params, files[0].patient)
    sent = (write(params, root, file, films[file.image]) for file in files)
    return [file for file in sent if file is not None]


def simulate(params: PhantomParams, patient: Patient) -> list[Plane]:
    """The patient's films, (size, size) each, with what is to be shown scaled to 0 (black) to 1 (white)."""
    thorax = draw_thorax(patient.sex, patient.age, stream(params, patient.number, 1))
    lesion = None
    if patient.finding != "none":
        lesion = draw_lesion(patient.finding, thorax, stream(params, patient.number, 2))
    films = []
    for image in range(len(patient.studies)):
        exposure = stream(params, patient.number, 3 + image)
        film = expose(thorax, lesion, params.contrast, params.image_size, exposure)
        low, high = np.percentile(film, _WINDOW_PERCENTILES)
        films.append((film - low) / (high - low))
    return films


def _write_dicom(params: PhantomParams, root: Path, file: Sending, film: Plane) -> _Sent:
    name = file.dicom_name
    window = _WINDOW.get(file.flaw, SHOWN)
    write_dicom(root / name, film, window, file.patient, file.image, pixel_spacing(len(film)), params.seed)
    _damage(root / name, file.flaw)
    return _Sent(_row(file, name), file.patient.split)


def _write_picture(_: PhantomParams, root: Path, file: Sending, film: Plane) -> _Sent:
    study = file.patient.studies[file.image]
    folder = "normal" if file.patient.finding == "none" else file.patient.finding
    name = f"{file.patient.split}/{folder}/{file.pseudonym}-study-{study}-{file.name}.png"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_grey(film, file.flaw)).save(root / name)
    _damage(root / name, file.flaw)
    return _Sent(_row(file, name), file.patient.split)


def _keep(_: PhantomParams, __: Path, file: Sending, film: Plane) -> _Sent | None:
    if file.flaw in BROKEN:  # an array can't be
        return None
    return _Sent(_row(file, ""), file.patient.split, _grey(film, file.flaw))


def _archive(files: Sequence[_Sent], root: Path) -> Iterator[_Sent]:
    """Writes the arrays, and gives each row its place in them."""
    arrays: dict[str, NDArray[np.uint8]] = {}
    places: dict[str, int] = {}
    for split in ("train", "val", "test"):
        chosen = [file for file in files if file.split == split]
        arrays[f"{split}_images"] = np.stack([file.grey for file in chosen if file.grey is not None])
        arrays[f"{split}_labels"] = np.array([[FINDINGS.index(f.row["finding"])] for f in chosen], np.uint8)
    np.savez_compressed(root / f"{NPZ_FLAG}.npz", allow_pickle=False, **arrays)
    for file in files:
        place = places[file.split] = places.get(file.split, -1) + 1
        yield _Sent(file.row | {"file": f"{NPZ_FLAG}.npz#{file.split}/{place}"}, file.split)


def _grey(film: Plane, flaw: Flaw) -> NDArray[np.uint8]:
    low, high = _WINDOW.get(flaw, SHOWN)
    return np.round((film - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def _damage(path: Path, flaw: Flaw) -> None:
    match flaw:
        case "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        case "empty":
            path.write_bytes(b"")
        case "page":
            path.write_bytes(_PAGE)


def _row(file: Sending, name: str) -> dict[str, str | int]:
    patient = file.patient
    return {
        "file": name,
        "patient": file.pseudonym,
        "label": int(patient.finding != "none"),
        "finding": patient.finding,
        "sex": patient.sex,
        "age": patient.age,
        "site": patient.site,
    }
