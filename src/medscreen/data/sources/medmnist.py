"""A 2-D MedMNIST file: <flag>.npz, or <flag>_64.npz and so on, with {train,val,test}_{images,labels}."""

import ast
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import MedMnistParams
from medscreen.data.sources.class_numbers import require_labels
from medscreen.data.sources.downloads import download
from medscreen.data.sources.npz_arrays import ArchivedArray
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError
from medscreen.workspace.digests import file_md5

_SPLITS = ("train", "val", "test")


def find_files(params: MedMnistParams, root: Path) -> list[Path]:
    """The data set's file, downloaded if it is not there."""
    path = _path(params, root)
    if not path.is_file():
        _download(params, path)
    return [path]


def read_records(params: MedMnistParams, root: Path) -> Records:
    """One record an image, in the file's order, with its published split; no image's patient is known.

    A file that is not the published one is noted. Raises MedscreenError for a file that is no such archive, and for
    labels that can't be taken as ones; pickled arrays are refused.
    """
    path = _path(params, root)
    try:
        with zipfile.ZipFile(path) as archive:
            labels = {split: _labels_of(archive, split, path) for split in _SPLITS}
            require_labels(params, path, labels, _number_of_classes(params))
            records = [record for split in _SPLITS for record in _records_of(archive, split, labels[split], params)]
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; run `dvc repro raw`, which finds or downloads it.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise MedscreenError(
            f"{path} is no 2-D MedMNIST file ({' '.join(str(error).split())}); {_way_out(params)}."
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile, of other compressions and of passwords
        raise MedscreenError(f"{path} is no plain .npz file ({error}); save it with np.savez_compressed.") from error
    return Records(records, {"files with another md5 than the published one": int(_is_another(params, path))})


def _path(params: MedMnistParams, root: Path) -> Path:
    return root / f"{params.flag}.npz"


def _labels_of(archive: zipfile.ZipFile, split: str, path: Path) -> NDArray[np.integer]:
    """Labels (N, K) of a split, K = 1 or one of 0 and 1 for each finding; raises MedscreenError for other arrays."""
    images, labels = ArchivedArray(archive, f"{split}_images"), ArchivedArray(archive, f"{split}_labels")
    if len(images.shape) == 4 and images.shape[1] in {1, 3} and images.shape[3] > 4:
        raise MedscreenError(
            f"{path}: {split}_images {images.shape} has its channels first; save it as (N, H, W) or (N, H, W, 3), as "
            "np.moveaxis(images, 1, -1) makes it."
        )
    if len(images.shape) > 4 or (len(images.shape) == 4 and images.shape[3] > 4):
        raise MedscreenError(
            f"{path} holds volumes ({split}_images {images.shape}); medscreen reads 2-D images alone: name another "
            "flag in params.yaml."
        )
    is_2d = len(images.shape) == 3 or (len(images.shape) == 4 and images.shape[3] == 3)
    if not is_2d or images.dtype != np.uint8 or min(images.shape[1:]) < 1:
        raise MedscreenError(
            f"{path}: {split}_images is {images.dtype} {images.shape} where uint8 (N, H, W) or (N, H, W, 3) is wanted; "
            "save it in that form."
        )
    if not images.shape[0]:
        raise MedscreenError(f"{path}: {split}_images holds no image; save some in each of train, val and test.")
    fits = len(labels.shape) == 1 or (len(labels.shape) == 2 and labels.shape[1] > 0)
    if not fits or labels.dtype.kind not in "ui" or labels.shape[0] != images.shape[0]:
        number = images.shape[0]
        raise MedscreenError(
            f"{path}: {split}_labels is {labels.dtype} {labels.shape} where whole numbers ({number},) or ({number}, 1) "
            f"are wanted, one for each image, or ({number}, K) of 0 and 1 for K findings; save it in that form."
        )
    return labels.read().reshape(labels.shape[0], -1)


def _records_of(
    archive: zipfile.ZipFile, split: str, labels: NDArray[np.integer], params: MedMnistParams
) -> Iterator[Record]:
    several = labels.shape[1] > 1
    for i, image in enumerate(ArchivedArray(archive, f"{split}_images").read_grey()):
        classes = np.flatnonzero(labels[i]) if several else labels[i]
        yield Record(
            origin=f"{params.flag}.npz#{split}/{i}",
            image=image,
            patient=None,
            label=int(not set(classes.tolist()) <= set(params.normal_labels)),
            finding="class " + ("+".join(map(str, classes)) or "none"),
            split=split,
        )


def _download(params: MedMnistParams, path: Path) -> None:
    known, flag, size = _catalogue(), *_flag_and_size(params)
    if flag not in known or f"url{size}" not in known[flag]:
        flags = ", ".join(name for name, about in known.items() if not _is_3d(about))
        raise MedscreenError(
            f"{path} is missing and MedMNIST has no data set {params.flag!r}; its flags are {flags}, "
            "with _64, _128 or _224 behind for larger images."
        )
    if _is_3d(known[flag]):
        raise MedscreenError(f"{params.flag} holds volumes; medscreen reads 2-D images alone: name another flag.")
    print(f"downloading {path.name}", flush=True)
    try:
        download(known[flag][f"url{size}"], path)
    except (OSError, HTTPException, ValueError) as error:
        raise MedscreenError(
            f"{path.name} can't be downloaded ({' '.join(str(error).split())}): put the file at {path} "
            "(from zenodo.org/records/10519652), or use the phantom: `make repro DATASET=phantom`."
        ) from error


def _is_3d(about: Mapping[str, Any]) -> bool:
    return str(about["python_class"]).endswith("3D")


def _flag_and_size(params: MedMnistParams) -> tuple[str, str]:
    """`chestmnist_64` -> chestmnist, _64."""
    size = next((size for size in ("_64", "_128", "_224") if params.flag.endswith(size)), "")
    return params.flag.removesuffix(size), size


def _number_of_classes(params: MedMnistParams) -> int | None:
    """How many classes or findings a published data set has."""
    flag, _ = _flag_and_size(params)
    about = _catalogue().get(flag)
    return len(about["label"]) if about and "label" in about else None


def _way_out(params: MedMnistParams) -> str:
    """What to do about a broken file: no words make anyone delete what only they have."""
    flag, size = _flag_and_size(params)
    about = _catalogue().get(flag, {})
    if f"url{size}" in about:
        if _is_3d(about):
            return "the published one holds volumes and medscreen reads 2-D images alone: name another flag"
        return "move it away, and the published one is downloaded"
    return "save it again, with {train,val,test}_{images,labels} as np.savez_compressed writes them"


def _is_another(params: MedMnistParams, path: Path) -> bool:
    """Whether MedMNIST publishes a file of this name with another content."""
    flag, size = _flag_and_size(params)
    published = _catalogue().get(flag, {}).get(f"MD5{size}")
    return published is not None and file_md5(path) != str(published)


def _catalogue() -> dict[str, dict[str, Any]]:
    """MedMNIST's own table of its data sets: flag -> addresses, digests and more.

    It is read, not imported: that would load torchvision, 4 s, and make a folder in the user's home.
    """
    info = distribution("medmnist").locate_file("medmnist/info.py")
    for node in ast.parse(Path(str(info)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
            found: dict[str, dict[str, Any]] = ast.literal_eval(node.value)
            return found
    raise MedscreenError("The installed medmnist has no table of its data sets; install it again (3.0.2 or newer).")
