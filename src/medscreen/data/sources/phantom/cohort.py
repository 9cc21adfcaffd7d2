"""The plan of an export: the simulated patients, and the files that their hospitals send."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom.anatomy import Sex

Site = Literal["A", "B", "C"]
Finding = Literal["none", "nodule", "consolidation"]
FINDINGS: tuple[Finding, ...] = ("none", "nodule", "consolidation")

_SITES: tuple[Site, ...] = ("A", "B", "C")
_IMAGES_PER_PATIENT = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
_PUBLISHED_SPLITS = ("train", "train", "train", "val", "test")  # of the forms that have splits

Flaw = Literal["", "resent", "rewindowed", "cut", "empty", "page"]
"""The defect of a file, "" without one: an exact duplicate, a copy with another window, or one of three that
can't be read: cut off in transfer, empty, a web page saved under an image's name."""

BROKEN: tuple[Flaw, ...] = ("cut", "empty", "page")


@dataclass(frozen=True)
class Patient:
    """A simulated patient. Finding, sex, age (years) and site are drawn independently of each other.

    `studies`: study number of each image.
    """

    number: int
    sex: Sex
    age: int
    site: Site
    finding: Finding
    studies: tuple[int, ...]
    split: str


@dataclass(frozen=True)
class Sending:
    """One file: image number `image` of a patient, with the sender's spelling of the pseudonym."""

    patient: Patient
    image: int
    pseudonym: str
    flaw: Flaw

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return f"image-{self.image + 1}" + (f"-{self.flaw}" if self.flaw else "")

    @property
    def dicom_name(self) -> str:
        """The file below the export's root in the DICOM form, which is the image's origin in curation."""
        return f"{self.pseudonym}/study-{self.patient.studies[self.image]}/{self.name}.dcm"


def stream(params: PhantomParams, number: int, purpose: int) -> np.random.Generator:
    """The random numbers of one patient for one purpose, independent of all others."""
    return np.random.default_rng([params.seed, number, purpose])


def draw_patient(params: PhantomParams, number: int) -> Patient:
    """The patient with this number; it does not depend on the number of patients."""
    rng = stream(params, number, 0)
    finding: Finding = "none"
    abnormal, kind = rng.random() < params.abnormal_fraction, rng.random() < 0.5
    if abnormal:
        finding = "nodule" if kind else "consolidation"
    images = int(rng.choice(_IMAGES_PER_PATIENT))
    studies = np.cumsum(rng.random(images) < 0.5)
    return Patient(
        number,
        "F" if rng.random() < 0.5 else "M",
        int(np.clip(rng.normal(56, 16), 18, 95)),
        _SITES[rng.integers(len(_SITES))],
        finding,
        tuple(int(study - studies[0] + 1) for study in studies),
        _PUBLISHED_SPLITS[number % len(_PUBLISHED_SPLITS)],
    )


def plan_export(params: PhantomParams) -> list[list[Sending]]:
    """The files of each patient in turn."""
    patients = [draw_patient(params, number) for number in range(params.patients)]
    rng = np.random.default_rng(params.seed)
    several = [patient.number for patient in patients if len(patient.studies) > 1]
    respelled = {int(n) for n in rng.permutation(several)[: params.respelled_patients]}
    films = [(patient.number, image) for patient in patients for image in range(len(patient.studies))]
    wanted: dict[Flaw, int] = {"resent": params.exact_duplicates, "rewindowed": params.near_duplicates}
    wanted |= {flaw: len(range(i, params.unreadable_files, len(BROKEN))) for i, flaw in enumerate(BROKEN)}
    flaws: dict[tuple[int, int], list[Flaw]] = {film: [""] for film in films}
    for flaw, number in wanted.items():  # films are drawn for each defect separately, without repetition
        for position in rng.permutation(len(films))[:number]:
            flaws[films[position]].append(flaw)
    return [
        [
            Sending(patient, image, _pseudonym(patient.number, image > 0 and patient.number in respelled), flaw)
            for image in range(len(patient.studies))
            for flaw in flaws[patient.number, image]
        ]
        for patient in patients
    ]


def _pseudonym(number: int, respelled: bool) -> str:
    return f"p_{number:05d}" if respelled else f"P-{number:05d}"
