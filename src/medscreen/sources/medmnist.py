"""A 2-D MedMNIST file: <flag>.npz with {train,val,test}_{images,labels}."""

import socket
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medscreen.errors import MedscreenError
from medscreen.params import MedMnistParams
from medscreen.sources.records import Record

_SPLITS = ("train", "val", "test")
# medmnist sets none: a server that accepts and stays silent would hang it for ever.
_DOWNLOAD_TIMEOUT_S = 30.0


def find_files(params: MedMnistParams, root: Path) -> list[Path]:
    """The data set's file, downloaded by medmnist if it is not there."""
    path = root / f"{params.flag}.npz"
    if not path.is_file():
        _download(params, root)
    return [path]


def _download(params: MedMnistParams, root: Path) -> None:
    # medmnist imports torchvision: 4 s that nobody pays whose file is there
    import medmnist

    if params.flag not in medmnist.INFO:
        raise MedscreenError(
            f"{root / params.flag}.npz is missing and MedMNIST has no data set {params.flag!r}; "
            f"its flags are {', '.join(medmnist.INFO)}."
        )
    dataset = getattr(medmnist, medmnist.INFO[params.flag]["python_class"])
    timeout_before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT_S)
    try:
        root.mkdir(parents=True, exist_ok=True)
        dataset(split="train", download=True, root=str(root))
    except (OSError, RuntimeError, ValueError) as error:
        raise MedscreenError(
            f"{params.flag}.npz can't be downloaded: put the file at {root / params.flag}.npz "
            "(from zenodo.org/records/10519652), or use the phantom: `make repro DATASET=phantom`."
        ) from error
    finally:
        socket.setdefaulttimeout(timeout_before)


def read_records(params: MedMnistParams, root: Path) -> list[Record]:
    """One record an image, in the file's order, with its published split; no image's patient is known.

    Raises MedscreenError for a file that is no such archive; pickled arrays are refused.
    """
    path = root / f"{params.flag}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return [record for split in _SPLITS for record in _records_of(archive, split, params)]
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; run `dvc repro raw`, which finds or downloads it.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise MedscreenError(
            f"{path} is no 2-D MedMNIST file ({' '.join(str(error).split())}); delete it to download it again."
        ) from error


def _records_of(archive: "np.lib.npyio.NpzFile", split: str, params: MedMnistParams) -> list[Record]:
    images: NDArray[np.uint8] = archive[f"{split}_images"]
    labels: NDArray[np.uint8] = archive[f"{split}_labels"]
    if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != (len(images), 1):
        raise ValueError(f"{split}: images {images.dtype} {images.shape}, labels {labels.shape}")
    abnormal = ~np.isin(labels[:, 0], params.normal_labels)
    return [
        Record(
            origin=f"{params.flag}.npz#{split}/{i}",
            image=image,
            patient=None,
            label=int(abnormal[i]),
            finding=f"class {labels[i, 0]}",
            split=split,
        )
        for i, image in enumerate(images)
    ]
