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

from medscreen.digests import file_md5
from medscreen.errors import MedscreenError
from medscreen.params import MedMnistParams
from medscreen.sources.archived_arrays import ArchivedArray
from medscreen.sources.downloads import download
from medscreen.sources.records import Record, Records

_SPLITS = ("train", "val", "test")


def find_files(params: MedMnistParams, root: Path) -> list[Path]:
    """The data set's file, downloaded if it is not there."""
    path = _path(params, root)
    if not path.is_file():
        _download(params, path)
    return [path]


def read_records(params: MedMnistParams, root: Path) -> Records:
    """One record an image, in the file's order, with its published split; no image's patient is known.

    A file that is not the published one is noted. Raises MedscreenError for a file that is no such archive; pickled
    arrays are refused.
    """
    path = _path(params, root)
    try:
        with zipfile.ZipFile(path) as archive:
            records = [record for split in _SPLITS for record in _records_of(archive, split, params)]
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; run `dvc repro raw`, which finds or downloads it.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise MedscreenError(
            f"{path} is no 2-D MedMNIST file ({' '.join(str(error).split())}); {_way_out(params)}."
        ) from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile, of other compressions and of passwords
        raise MedscreenError(f"{path} is no plain .npz file ({error}); save it with np.savez_compressed.") from error
    if all(record.label for record in records):
        raise MedscreenError(
            f"{path} has no image that normal_labels: {params.normal_labels} calls normal; correct it in params.yaml."
        )
    return Records(records, {"files with another md5 than the published one": int(_is_another(params, path))})


def _path(params: MedMnistParams, root: Path) -> Path:
    return root / f"{params.flag}.npz"


def _records_of(archive: zipfile.ZipFile, split: str, params: MedMnistParams) -> Iterator[Record]:
    stored, said = ArchivedArray(archive, f"{split}_images"), ArchivedArray(archive, f"{split}_labels")
    one_label = len(said.shape) == 2 and said.shape[1] == 1
    fits = said.shape[:1] == stored.shape[:1] and len(said.shape) == 2 and said.shape[1] > 0 and said.dtype.kind in "ui"
    is_2d = len(stored.shape) == 3 or (len(stored.shape) == 4 and stored.shape[3] == 3)
    if not (fits and is_2d and stored.dtype == np.uint8 and np.prod(stored.shape[1:]) > 0):
        raise ValueError(f"{split}: images {stored.dtype} {stored.shape}, labels {said.dtype} {said.shape}")
    labels = said.read()
    if one_label:
        abnormal: NDArray[np.bool_] = ~np.isin(labels[:, 0], params.normal_labels)
    else:
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(f"{split}: several labels an image, and some are neither 0 nor 1")
        abnormal = labels[:, ~np.isin(np.arange(labels.shape[1]), params.normal_labels)].max(axis=1, initial=0) > 0
    for i, image in enumerate(stored.read_grey()):
        classes = labels[i] if one_label else np.flatnonzero(labels[i])
        yield Record(
            origin=f"{params.flag}.npz#{split}/{i}",
            image=image,
            patient=None,
            label=int(abnormal[i]),
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


def _way_out(params: MedMnistParams) -> str:
    """What to do about a broken file: no words make anyone delete what only they have."""
    flag, size = _flag_and_size(params)
    if f"url{size}" in _catalogue().get(flag, {}):
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
