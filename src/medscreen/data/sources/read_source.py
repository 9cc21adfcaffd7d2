"""Files and records of each kind of data set."""

from pathlib import Path

from medscreen.config.datasets import (
    ColumnsParams,
    DatasetParams,
    DicomParams,
    FoldersParams,
    MedMnistParams,
    MiddleSlice,
    PhantomParams,
)
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.sources import class_folders, dicom_tree, medmnist
from medscreen.data.sources.phantom import export
from medscreen.data.sources.records import Records


def root_of(params: DatasetParams, workspace: Path) -> Path:
    """The folder of a data set: `~` is expanded, a relative path starts at the workspace."""
    return workspace / Path(params.root).expanduser()


def find_files(params: DatasetParams, root: Path, workers: int) -> list[Path]:
    """The raw files of a data set; some kinds first generate (in `workers` processes) or download them.

    Raises MedscreenError if they are missing and can't be generated or downloaded.
    """
    match params:
        case PhantomParams():
            return export.find_files(params, root, workers)
        case MedMnistParams():
            return medmnist.find_files(params, root)
        case FoldersParams():
            return class_folders.find_files(root)
        case DicomParams():
            return dicom_tree.find_files(params, root)


def read_records(params: DatasetParams, root: Path) -> Records:
    """The records of a data set whose files exist, in an order that depends on the files only."""
    match params:
        case PhantomParams():
            # its folder holds generated files only, so there are no notes
            return Records(dicom_tree.read_records(_of_phantom(params), root, finding="finding"))
        case MedMnistParams():
            return medmnist.read_records(params, root)
        case FoldersParams():
            return class_folders.read_records(params, root)
        case DicomParams():
            return dicom_tree.read_records(params, root)


def _of_phantom(params: PhantomParams) -> DicomParams:
    return DicomParams(
        kind="dicom",
        root=params.root,
        image_size=params.image_size,
        table="labels.csv",
        columns=ColumnsParams(patient="patient", label="label", file="file"),
        images=".",
        normal_labels=[0],
        slices=MiddleSlice(take="middle"),
        attributes={"sex": "sex", "age": "age", "site": "site"},
        display=FILE_DISPLAY,
    )
