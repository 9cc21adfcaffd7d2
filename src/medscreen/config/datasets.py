"""Settings of data sets, splits and duplicates."""

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
        raise ValueError(f"{pattern!r} is not a valid regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"{pattern!r} has {groups} groups (...); it needs exactly one, for the patient")
    return pattern


ImageSize = Annotated[int, Field(ge=16, le=2048)]
BelowRoot = Annotated[str, Field(min_length=1), AfterValidator(_below_root)]


class PhantomParams(Block):
    """Simulated chest films, written as DICOM below `root`.

    `exact_duplicates` to `unreadable_files` are numbers of planted defects.
    """

    kind: Literal["phantom"]
    root: str
    image_size: ImageSize
    patients: Annotated[int, Field(ge=40)]
    abnormal_fraction: Fraction
    contrast: Annotated[float, Field(gt=0)]
    exact_duplicates: Annotated[int, Field(ge=0)]
    near_duplicates: Annotated[int, Field(ge=0)]
    respelled_patients: Annotated[int, Field(ge=0)]
    unreadable_files: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class MedMnistParams(Block):
    """A MedMNIST .npz file in the folder `root`, downloaded there if it is missing.

    `flag`: name of the file without .npz, such as `chestmnist` or, for 64 x 64 pixels, `chestmnist_64`. An image is
    normal if all its labels are among `normal_labels`. In a multi-label set the labels are findings; with `[]`, images
    without findings are normal.
    """

    kind: Literal["medmnist"]
    root: str
    image_size: ImageSize
    flag: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    normal_labels: list[Annotated[int, Field(ge=0)]]


class FoldersParams(Block):
    """Image files in class folders below `root`, with or without folders of published splits above them.

    `patient_pattern`: regular expression whose only group is the patient; it has to match every file name. null:
    patients are read from a table `labels.csv`, or unknown. `published_splits`: `discard` splits all images anew.
    """

    kind: Literal["folders"]
    root: str
    image_size: ImageSize
    normal_classes: Annotated[list[str], Field(min_length=1)]
    patient_pattern: Annotated[str, AfterValidator(_finds_a_patient)] | None
    published_splits: Literal["keep", "discard"]


class ColumnsParams(Block):
    """Column names of the label table. `file`: null if each patient has a folder of that name."""

    patient: str
    label: str
    file: str | None


class MiddleSlice(Block):
    """The middle image of each series; with a file column, the middle frame of each file."""

    take: Literal["middle"]


class SpacedSlices(Block):
    """`number` evenly spaced images of each series (with a file column, frames of each file); all of fewer."""

    take: Literal["spaced"]
    number: Annotated[int, Field(ge=1)]


class AllSlices(Block):
    """Every image of each series; with a file column, every frame of each file."""

    take: Literal["all"]


SlicesParams = Annotated[MiddleSlice | SpacedSlices | AllSlices, Discriminator("take")]


class DicomParams(Block):
    """DICOM files, with or without extensions, and a CSV table of labels; all paths are below `root`.

    `images`: folder that the table's files are relative to or, without a file column, that holds a folder for each
    patient. `normal_labels`: labels that mean normal; all others are abnormal. `slices`: which images of a series are
    used; with a file column, which frames of its file. `attributes`: attribute for subgroup results -> column of the
    table.
    """

    kind: Literal["dicom"]
    root: str
    image_size: ImageSize
    table: BelowRoot
    columns: ColumnsParams
    images: BelowRoot
    normal_labels: Annotated[list[str | int], Field(min_length=1)]
    slices: SlicesParams
    attributes: dict[Literal["sex", "age", "site", "scanner"], str]
    display: DisplayParams


DatasetParams = Annotated[PhantomParams | MedMnistParams | FoldersParams | DicomParams, Discriminator("kind")]


DuplicatePolicy = Literal["report", "drop", "keep_together", "fail"]


class CurationParams(Block):
    """Splits and duplicates. Fractions are shares of patients; published splits use `tune_fraction` alone.

    Duplicates: `drop` keeps one, `keep_together` keeps all in one split, `fail` stops with an error, `report` only
    counts them. Published val and test are never changed: `drop` removes copies of their images from train.
    """

    tune_fraction: Fraction
    val_fraction: Fraction
    test_fraction: Fraction
    exact_duplicates: DuplicatePolicy
    near_duplicates: DuplicatePolicy

    @model_validator(mode="after")
    def _leaves_something_to_train_on(self) -> "CurationParams":
        if self.tune_fraction + self.val_fraction + self.test_fraction >= 0.9:
            raise ValueError("tune, val and test fractions together must stay below 0.9")
        return self
