"""Simulated films as DICOM files of three sites with different conventions.

All names, numbers and dates are fictional.
"""

import hashlib
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, RLELossless

from medscreen.data.sources.phantom.cohort import Patient, Site

FULL_RANGE = (0.0, 1.0)
"""The window of every plain film."""

_FAMILIES = ("Feldspar", "Gneiss", "Obsidian", "Tourmaline", "Zeolite", "Olivine", "Hornblende", "Dolomite")
_GIVEN = ("Cyan", "Umber", "Indigo", "Ochre", "Sepia", "Teal", "Mauve", "Russet", "Amber", "Coral")


@dataclass(frozen=True)
class _Habits:
    """A site's conventions. `windows`: number of windows: 0 (readers use percentiles), 1 (wide) or 2 (wide, narrow)."""

    bits: int
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    compressed: bool
    rescale: tuple[float, float]  # slope, intercept
    windows: int


_HABITS: dict[Site, _Habits] = {
    "A": _Habits(12, "MONOCHROME2", compressed=False, rescale=(1, 0), windows=1),
    "B": _Habits(14, "MONOCHROME1", compressed=True, rescale=(1, 0), windows=0),
    "C": _Habits(16, "MONOCHROME2", compressed=False, rescale=(0.25, -1024), windows=2),
}


def write_dicom(
    path: Path,
    film: NDArray[np.float64],
    window: tuple[float, float],
    patient: Patient,
    image: int,
    spacing: float,
    seed: int,
) -> None:
    """Writes a film whose `window` (low, high) is displayed from black to white; `spacing` in mm.

    If a site writes no window, readers use percentiles, which are 0 and 1 of the film; any other window is written,
    and the file is then another instance of the image.
    """
    habits = _HABITS[patient.site]
    span = 2**habits.bits - 1
    # values outside the window are kept, within the range of the bits
    unit = span * 0.8
    stored = np.round(film * unit + 0.1 * span).clip(0, span)
    low, high = (0.1 * span + edge * unit for edge in window)
    if habits.photometric == "MONOCHROME1":
        stored, low, high = span - stored, span - high, span - low
    dataset = _header(patient, image, seed)
    dataset.SOPInstanceUID = _uid(seed, *stored.shape, patient.number, image, window)
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelSpacing = dataset.ImagerPixelSpacing = [f"{spacing:.4f}", f"{spacing:.4f}"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, habits.photometric
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, habits.bits, habits.bits - 1
    dataset.PixelRepresentation = 0
    slope, intercept = habits.rescale
    if habits.rescale != (1, 0):
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = f"{slope:g}", f"{intercept:g}", "US"
    windows = habits.windows if window == FULL_RANGE else max(habits.windows, 1)
    _set_window(dataset, slope * low + intercept, slope * high + intercept, windows)
    dataset.PixelData = stored.astype("<u2").tobytes()
    if habits.compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def _set_window(dataset: Dataset, low: float, high: float, windows: int) -> None:
    # DICOM's linear function reaches white half a step below center + (width - 1) / 2: PS3.3 C.11.2.1.2.1
    center, width = (low + high + 1) / 2, high - low + 1
    if windows:
        dataset.WindowCenter = [f"{value:.2f}" for value in (center, center - width / 5)[:windows]]
        dataset.WindowWidth = [f"{value:.2f}" for value in (width, width / 2)[:windows]]
    if windows == 2:
        dataset.WindowCenterWidthExplanation = ["WIDE", "LUNG"]


def _uid(*what: object) -> str:
    """A UID under 2.25, which needs no registration (DICOM PS3.5 B.2); equal for equal arguments."""
    return f"2.25.{int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=16).digest())}"


def _header(patient: Patient, image: int, seed: int) -> Dataset:
    number, study = patient.number, patient.studies[image]
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(seed, number, study), _uid(seed, number, study, image)
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = str(study), 1, image + 1
    family, given = _FAMILIES[number % len(_FAMILIES)], _GIVEN[number // len(_FAMILIES) % len(_GIVEN)]
    dataset.PatientName, dataset.PatientID = f"{family}^{given}{number:05d}", f"SIM{700001 + 37 * number}"
    taken = date(2001, 1, 1) + timedelta(days=3 * number + 40 * study)
    born = taken - timedelta(days=round(365.25 * patient.age) + 1 + number % 300)
    dataset.PatientBirthDate, dataset.PatientSex = born.strftime("%Y%m%d"), patient.sex
    dataset.PatientAge = f"{patient.age:03d}Y"
    dataset.StudyDate, dataset.StudyTime = taken.strftime("%Y%m%d"), f"{8 + number % 10:02d}{number % 60:02d}00"
    dataset.AccessionNumber = f"ACC{500009 + 53 * number}-{study}"
    dataset.InstitutionName = f"Simulated Hospital {patient.site}"
    dataset.ReferringPhysicianName = f"{_FAMILIES[-1 - number % len(_FAMILIES)]}^Referring{number:05d}"
    dataset.Manufacturer, dataset.PatientOrientation = "Simulated", ["L", "F"]
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", "PA"
    dataset.ImageComments = "SIMULATED: no patient"
    return dataset
