"""A 2-D MedMNIST file: <flag>.npz, or <flag>_64.npz and so on, with {train,val,test}_{images,labels}."""

import ast
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.config.datasets import MedMnistParams
from medscreen.data.sources.class_numbers import read_labels, require_labels
from medscreen.data.sources.downloads import download
from medscreen.data.sources.npz_arrays import ArchivedArray
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError
from medscreen.workspace.digests import file_md5

_SPLITS = ("train", "val", "test")
_SIZES = ("_64", "_128", "_224")


@dataclass(frozen=True)
class _Published:
    """A file that MedMNIST publishes; `classes`: number of its classes or findings; `md5`: of the file."""

    url: str
    md5: str | None
    classes: int | None
    is_3d: bool


def find_files(params: MedMnistParams, root: Path) -> list[Path]:
    """The data set's file, downloaded if it is missing."""
    path = root / f"{params.flag}.npz"
    if not path.is_file():
        _download(params, path)
    return [path]


def read_records(params: MedMnistParams, root: Path) -> Records:
    """One record per image, in the file's order, with its published split; patients are unknown.

    A file other than the published one is noted. Raises MedscreenError for a file that is not such an archive, and for
    invalid labels; pickled arrays are refused.
    """
    path, published = root / f"{params.flag}.npz", _published(params.flag)
    try:
        with zipfile.ZipFile(path) as archive:
            labels = {split: read_labels(archive, split, path) for split in _SPLITS}
            require_labels(params, path, labels, published.classes if published else None)
            records = [record for split in _SPLITS for record in _records_of(archive, split, labels[split], params)]
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; run `dvc repro raw`, which finds or downloads it.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        advice = "save {train,val,test}_{images,labels} in it with np.savez_compressed"
        if published:
            advice = "move it away, and the published one is downloaded"
        if published and published.is_3d:
            advice = "the published one holds volumes, and medscreen reads 2-D images only: set another flag"
        reason = " ".join(str(error).split())
        raise MedscreenError(f"{path} is not a 2-D MedMNIST file ({reason}); {advice}.") from error
    except (NotImplementedError, RuntimeError) as error:  # zipfile's, for other compressions and passwords
        raise MedscreenError(f"{path} is not a plain .npz file ({error}); save it with np.savez_compressed.") from error
    another = published is not None and published.md5 not in {None, file_md5(path)}
    return Records(records, {"files with another md5 than the published one": int(another)})


def _records_of(
    archive: zipfile.ZipFile, split: str, labels: NDArray[np.integer], params: MedMnistParams
) -> Iterator[Record]:
    for i, image in enumerate(ArchivedArray(archive, f"{split}_images").read_grey()):
        classes = np.flatnonzero(labels[i]) if labels.shape[1] > 1 else labels[i]
        yield Record(
            origin=f"{params.flag}.npz#{split}/{i}",
            image=image,
            patient=None,
            label=int(not set(classes.tolist()) <= set(params.normal_labels)),
            finding="class " + ("+".join(map(str, classes)) or "none"),
            split=split,
        )


def _download(params: MedMnistParams, path: Path) -> None:
    published = _published(params.flag)
    if published is None:
        flags = ", ".join(flag for flag in _catalogue() if not flag.endswith("3d"))
        raise MedscreenError(
            f"{path} is missing and MedMNIST has no data set {params.flag!r}; its flags are {flags}, "
            "with the suffix _64, _128 or _224 for larger images."
        )
    if published.is_3d:
        raise MedscreenError(f"{params.flag} holds volumes; medscreen reads 2-D images only. Set another flag.")
    print(f"downloading {path.name}", flush=True)
    try:
        download(published.url, path, published.md5)
    except (OSError, HTTPException, ValueError) as error:
        raise MedscreenError(
            f"{path.name} can't be downloaded ({' '.join(str(error).split())}): put the file at {path} "
            "(from zenodo.org/records/10519652), or use the phantom: `make repro DATASET=phantom`."
        ) from error


def _published(name: str) -> _Published | None:
    """The published file of this name, such as `chestmnist_64`; None if there is none."""
    size = next((size for size in _SIZES if name.endswith(size)), "")
    about = _catalogue().get(name.removesuffix(size), {})
    if f"url{size}" not in about:
        return None
    classes = len(about["label"]) if "label" in about else None
    return _Published(about[f"url{size}"], about.get(f"MD5{size}"), classes, about["python_class"].endswith("3D"))


def _catalogue() -> dict[str, dict[str, Any]]:
    """MedMNIST's table of its data sets: flag -> addresses, digests and more.

    It is parsed, not imported: the import would load torchvision (4 s) and create a folder in the user's home.
    """
    info = distribution("medmnist").locate_file("medmnist/info.py")
    for node in ast.parse(Path(str(info)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INFO":
            found: dict[str, dict[str, Any]] = ast.literal_eval(node.value)
            return found
    raise MedscreenError("The installed medmnist has no table of its data sets; install it again (3.0.2 or newer).")
