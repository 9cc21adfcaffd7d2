"""The data sets, and how they become splits."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from medscreen.params.block import Block, Fraction


class PhantomParams(Block):
    """Simulated chest films as DICOM below `root`; copies and the like are numbers, as far as there are films for."""

    kind: Literal["phantom"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    patients: Annotated[int, Field(ge=40)]
    abnormal_fraction: Fraction
    contrast: Annotated[float, Field(gt=0)]
    exact_copies: Annotated[int, Field(ge=0)]
    near_copies: Annotated[int, Field(ge=0)]
    respelled_patients: Annotated[int, Field(ge=0)]
    unreadable_files: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]


class MedMnistParams(Block):
    """A MedMNIST .npz file in the folder `root`, downloaded there by medmnist if it is missing."""

    kind: Literal["medmnist"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    flag: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    normal_labels: Annotated[list[int], Field(min_length=1)]


class FoldersParams(Block):
    """Image files in class folders below `root`, with published splits above the classes or without."""

    kind: Literal["folders"]
    root: str
    image_size: Annotated[int, Field(ge=16, le=2048)]
    normal_classes: Annotated[list[str], Field(min_length=1)]


DatasetParams = Annotated[PhantomParams | MedMnistParams | FoldersParams, Discriminator("kind")]


CopyPolicy = Literal["report", "drop", "keep_together", "fail"]


class CurationParams(Block):
    """How records become splits; the fractions are of patients and concern data without published splits.

    Of copies, `drop` keeps one (published val and test keep all of theirs), `keep_together` keeps all of them in one
    split, `fail` ends the stage, `report` only tells.
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
