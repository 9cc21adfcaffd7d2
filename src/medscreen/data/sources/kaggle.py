"""Data sets on Kaggle, downloaded by Kaggle's library with the user's credentials."""

import io
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from medscreen.data.sources.zip_archives import unpack
from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import replaced


@dataclass(frozen=True)
class OnKaggle:
    """A competition or data set on Kaggle, and its name there."""

    kind: Literal["competitions", "datasets"]
    name: str

    @property
    def page(self) -> str:
        """Address of the data set's page with its rules."""
        return f"https://www.kaggle.com/{self.kind}/{self.name}"


ON_KAGGLE: Mapping[str, OnKaggle] = MappingProxyType(
    {
        "rsna-2023-abdominal-trauma": OnKaggle("competitions", "rsna-2023-abdominal-trauma-detection"),
        "bone-fracture": OnKaggle("datasets", "bmadushanirodrigo/fracture-multi-region-x-ray-data"),
    }
)
"""Entry in params.yaml -> competition or data set for its folder."""


def fetch_from_kaggle(there: OnKaggle, root: Path) -> int:
    """Fills the folder `root` with the files of a data set; returns their number.

    The archive is kept beside `root` until it is unpacked, so that another call resumes. Raises MedscreenError if
    `root` exists and is not empty, if library, credentials, rights or network are missing, and for a refused archive.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise MedscreenError(f"{root} exists already. Move it away, or use its files.")
    waiting = root.with_name(f".{root.name}.download")
    _download(there, waiting)
    try:
        archives = sorted(waiting.glob("*.zip"))
        if len(archives) != 1:
            raise MedscreenError(f"Kaggle sent no zip archive of {there.name}; delete {waiting} and fetch it again.")
        unpacked = waiting / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpacked.mkdir()
        number = unpack(archives[0], unpacked)
        with replaced(root) as partial:
            _unwrapped(unpacked).rename(partial)
        shutil.rmtree(waiting)
    except OSError as error:
        raise MedscreenError(f"{root} can't be filled ({error.strerror}); correct root in params.yaml.") from error
    return number


def _download(there: OnKaggle, folder: Path) -> None:
    """Downloads the archive into the folder, and resumes a partial download.

    Raises MedscreenError if library, credentials, rights or network are missing.
    """
    failed = (
        "Kaggle's library finds no credentials: save a token of kaggle.com/settings as ~/.kaggle/kaggle.json, or set "
        "KAGGLE_API_TOKEN."
    )
    try:
        # the library authenticates on import, prints instructions, and ends the process if that fails
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            from kaggle.api.kaggle_api_extended import KaggleApi

            api = KaggleApi()
            api.authenticate()
        failed = (
            f"Kaggle's library failed to fetch {there.name}: check that {folder} is writable and has room and try "
            f"again, or unpack the archive of {there.page} to the entry's root yourself."
        )
        folder.mkdir(parents=True, exist_ok=True)
        is_competition = there.kind == "competitions"
        fetch = api.competition_download_files if is_competition else api.dataset_download_files
        fetch(there.name, path=str(folder), quiet=False)
    except ImportError as error:
        raise MedscreenError(
            f"Fetching from Kaggle needs its library ({error}): pip install 'medscreen[kaggle]'."
        ) from error
    except (SystemExit, Exception) as error:
        raise MedscreenError(_refusal(error, there) or failed) from error


def _refusal(error: BaseException, there: OnKaggle) -> str | None:
    """Message for an error of server or network, without the library's text, whose addresses may contain keys."""
    from requests import RequestException  # a dependency of Kaggle's library

    if not isinstance(error, RequestException):
        return None
    status = None if error.response is None else error.response.status_code
    if status in {401, 403, 404}:
        return (
            f"Kaggle refuses {there.name} (status {status}): accept its rules at {there.page}, and check that your "
            "token is valid."
        )
    return (
        f"Kaggle can't be reached ({type(error).__name__}): try again with a network, or unpack the archive of "
        f"{there.page} to the entry's root yourself."
    )


def _unwrapped(folder: Path) -> Path:
    """The folder with the files: archives often contain a single folder, which may contain another one."""
    inside = list(folder.iterdir())
    return _unwrapped(inside[0]) if len(inside) == 1 and inside[0].is_dir() else folder
