"""The data sets, and how they become splits."""

import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator

from medscreen.config.base import Block, Fraction
from medscreen.config.display import DisplayParams


def _below_root(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise ValueError(f"{name!r} does not lie below root")
    return name


def _finds_a_patient(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups (...) where the patient's number should be the only one")
    return pattern


ImageSize = Annotated[int, Field(ge=16, le=2048)]
BelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]


class PhantomParams(Block):
    """Simulated chest films as DICOM below `root`; copies and the like are numbers, as far as there are films for."""

    kind: Literal["phantom"]
    root: str
    image_size: ImageSize
    patients: Annotated[int, Field(ge=40)]
    abnormal_fraction: Fraction
    contrast: Annotated[float, Field(gt=0)]
    exact_copies: Annotated[int, Field(ge=0)]
    near_copies: Annotated[int, Field(ge=0)]
    respelled_patients: Annotated[int, Field(ge=0)]
    unreadable_files: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class MedMnistParams(Block):
    """A MedMNIST .npz file in the folder `root`, downloaded there if it is missing.

    `flag` is the file's name without .npz: `chestmnist`, or `chestmnist_64` for images of 64 x 64. An image is normal
    if all its labels are among `normal_labels`; of a multi-label set those are the findings that it has, so that an
    empty list wants images without any.
    """

    kind: Literal["medmnist"]
    root: str
    image_size: ImageSize
    flag: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    normal_labels: list[Annotated[int, Field(ge=0)]]


class FoldersParams(Block):
    """Image files in class folders below `root`, with published splits above the classes or without.

    `patient_pattern`: searched in each image's name, its one group is the patient, or whatever else must not be torn
    apart by a split; it has to find one in all names. `published_splits`: `discard` cuts all images anew.
    """

    kind: Literal["folders"]
    root: str
    image_size: ImageSize
    normal_classes: Annotated[list[str], Field(min_length=1)]
    patient_pattern: Annotated[str, AfterValidator(_finds_a_patient)] | None
    published_splits: Literal["keep", "discard"]


class ColumnsParams(Block):
    """Column names of a label table; without a `file` column, folders name the patient of an image."""

    patient: str
    label: str
    file: str | None


class MiddleSlice(Block):
    """The middle image of each series or, where the table names files, the middle frame of each file."""

    take: Literal["middle"]


class SpacedSlices(Block):
    """So many images of each series, or frames of each file that the table names, evenly spaced; all of fewer."""

    take: Literal["spaced"]
    number: Annotated[int, Field(ge=1)]


class AllSlices(Block):
    """Every image of each series, or every frame of each file that the table names."""

    take: Literal["all"]


SlicesParams = Annotated[MiddleSlice | SpacedSlices | AllSlices, Discriminator("take")]


class DicomParams(Block):
    """DICOM files, with or without extensions, and a CSV table of labels; all paths are below `root`.

    `images`: the folder that the table's files are named from or, without a file column, whose folders are the
    patients. `normal_labels`: the labels that mean normal, all others are abnormal. `slices`: what is taken of a
    series, frames of a file among them; with a file column each row is an image, and `slices` chooses among the
    frames of its file alone. `traits`: what subgroups are made of -> the table's column that says it.
    """

    kind: Literal["dicom"]
    root: str
    image_size: ImageSize
    table: BelowRoot
    columns: ColumnsParams
    images: BelowRoot
    normal_labels: Annotated[list[str | int], Field(min_length=1)]
    slices: SlicesParams
    traits: dict[Literal["sex", "age", "site", "scanner"], str]
    display: DisplayParams


DatasetParams = Annotated[PhantomParams | MedMnistParams | FoldersParams | DicomParams, Discriminator("kind")]


CopyPolicy = Literal["report", "drop", "keep_together", "fail"]


class CurationParams(Block):
    """Settings of splits and duplicates; the fractions are of patients, for data without published splits.

    Of copies, `drop` keeps one, `keep_together` keeps all of them in one split, `fail` ends the stage, `report` only
    tells. Published val and test stay as they are: `drop` takes copies of their images out of train, `keep_together`
    leaves these there and only keeps the copies within train on one side when tune is cut from it.
    """

    tune_fraction: Fraction
    val_fraction: Fraction
    test_fraction: Fraction
    exact_copies: CopyPolicy
    near_copies: CopyPolicy

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "CurationParams":
        if self.tune_fraction + self.val_fraction + self.test_fraction >= 0.9:
            raise ValueError("tune, val and test fractions together must stay below 0.9")
        return self
