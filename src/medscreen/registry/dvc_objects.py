"""Availability of the objects named in a dvc.lock, in DVC's cache or remote."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from medscreen.errors import MedscreenError
from medscreen.workspace.digests import file_md5
from medscreen.workspace.layout import Layout

Place = Literal["cache", "remote", "damaged", "missing"]


class UnreachableRemoteError(MedscreenError):
    """Raised if a configured remote does not answer."""


def outputs_of(layout: Layout, lock: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and digest of each output of a lock's stages that DVC caches; the others are in git."""
    stages = yaml.safe_load((layout.workspace / "dvc.yaml").read_text())["stages"]
    for stage, entry in lock.items():
        kind, _, key = stage.partition("@")
        block = stages[kind].get("do", stages[kind])
        outputs = [output for section in ("outs", "metrics", "plots") for output in block.get(section, [])]
        pairs = [(output, {}) if isinstance(output, str) else next(iter(output.items())) for output in outputs]
        cached = {path.replace("${key}", key) for path, options in pairs if options.get("cache", True)}
        yield from ((out["path"], out["md5"]) for out in entry.get("outs", []) if out["path"] in cached)


class Objects:
    """DVC objects of a checkout by digest; raises DVC's NotDvcRepoError outside a DVC repository.

    Files of the cache are hashed here, since DVC's check deletes damaged ones.
    """

    def __init__(self, layout: Layout) -> None:
        from dvc.repo import Repo

        self._repo = Repo(str(layout.workspace))
        self._remote_name = self._repo.config["core"].get("remote")
        self._silent: UnreachableRemoteError | None = None

    def cached(self, digest: str) -> Path:
        """Path of an object in the cache; it may not exist."""
        return Path(self._repo.cache.local.oid_to_path(digest))

    def places(self, digest: str) -> list[Place]:
        """Availability of an output; of a folder in the cache, of its list and of each file."""
        place = self.place(digest)
        if not digest.endswith(".dir") or place != "cache":
            return [place]
        return [place, *(self.place(entry["md5"]) for entry in json.loads(self.cached(digest).read_text()))]

    def place(self, digest: str) -> Place:
        """Availability of an object; raises UnreachableRemoteError if it is not cached and the remote is silent."""
        path = self.cached(digest)
        if path.is_file():
            return "cache" if file_md5(path) == digest.removesuffix(".dir") else "damaged"
        return "remote" if self._remote_name and self._has_remote(digest) else "missing"

    def _has_remote(self, digest: str) -> bool:
        if self._silent is not None:  # one failed request is enough
            raise self._silent
        fault: Exception | None = None
        try:
            remote = self._remote
            # not exists(): over HTTP it returns False if the server does not answer
            remote.fs.info(remote.oid_to_path(digest))
            return True
        except FileNotFoundError as error:  # also raised where the whole remote is missing
            cause = error.__cause__
            if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
                fault = cause
            elif self._remote.fs.protocol == "local" and not Path(self._remote.path).is_dir():
                fault = NotADirectoryError(f"there is no folder {self._remote.path}")
        except Exception as error:  # each kind of storage raises different errors
            fault = error
        if fault is None:
            return False
        self._silent = UnreachableRemoteError(
            f"DVC's remote {self._remote_name} can't be reached ({' '.join(str(fault).split())}). Check it with "
            "`dvc remote list`."
        )
        raise self._silent from fault

    @cached_property
    def _remote(self) -> Any:
        return self._repo.cloud.get_remote_odb()
