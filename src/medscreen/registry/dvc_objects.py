"""The content behind dvc.lock: in DVC's cache of a checkout, or in its remote."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import yaml

from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.digests import file_md5
from medscreen.workspace.layout import Layout

Place = Literal["cache", "remote", "damaged", "missing"]


class UnreachableRemoteError(MedscreenError):
    """A remote that is configured and does not answer."""


def cached_outputs(layout: Layout, stage: str) -> set[str]:
    """The outputs of a stage (fit@cnn) that DVC caches; git has the others."""
    kind, _, key = stage.partition("@")
    block = yaml.safe_load((layout.workspace / "dvc.yaml").read_text())["stages"][kind]
    block = block.get("do", block)
    entries = [entry for section in ("outs", "metrics", "plots") for entry in block.get(section, [])]
    pairs = [(entry, {}) if isinstance(entry, str) else next(iter(entry.items())) for entry in entries]
    return {path.replace("${key}", key) for path, options in pairs if options.get("cache", True)}


class Objects:
    """What DVC keeps for a checkout, by the digests that a lock names; raises DVC's own errors without DVC."""

    def __init__(self, layout: Layout) -> None:
        from dvc.repo import Repo

        self._repo = Repo(str(layout.workspace))
        self._cache = self._repo.cache.local
        self._remote_name = self._repo.config["core"].get("remote")
        self._silent: UnreachableRemoteError | None = None

    def cached(self, digest: str) -> Path:
        """Where the cache has that content, if it does."""
        return Path(self._cache.oid_to_path(digest))

    def place(self, digest: str) -> Place:
        """Where that content can be had; raises UnreachableRemoteError where only a silent remote could say."""
        path = self.cached(digest)
        if path.is_file():
            return "cache" if file_md5(path) == digest.removesuffix(".dir") else "damaged"
        return "remote" if self._has_remote(digest) else "missing"

    def bring(self, digest: str, target: Path) -> bool:
        """Writes that content, a file or a folder, to `target`; False if neither cache nor remote has it intact."""
        if not digest.endswith(".dir"):
            return self._bring_file(digest, target)
        listing = target.with_name(f"{target.name}.dir")
        if not self._bring_file(digest, listing):
            return False
        entries = json.loads(listing.read_text())
        listing.unlink()
        return all(self._bring_file(entry["md5"], target / entry["relpath"]) for entry in entries)

    def files_of(self, digest: str) -> list[str]:
        """The digests of the files of a folder that the cache has."""
        return [entry["md5"] for entry in json.loads(self.cached(digest).read_text())]

    def _bring_file(self, digest: str, target: Path) -> bool:
        place = self.place(digest)
        if place not in {"cache", "remote"}:
            return False
        with replaced(target) as partial:
            if place == "cache":
                shutil.copyfile(self.cached(digest), partial)
            else:
                with self._asking():
                    self._remote.fs.get_file(self._remote.oid_to_path(digest), str(partial))
            if file_md5(partial) != digest.removesuffix(".dir"):
                raise MedscreenError(f"DVC's remote has something else under {digest}; push it again from its source.")
        return True

    def _has_remote(self, digest: str) -> bool:
        if not self._remote_name:
            return False
        with self._asking():
            # not "exists": over HTTP it takes a server that does not answer for one that has nothing
            path = self._remote.oid_to_path(digest)
            try:
                self._remote.fs.info(path)
            except FileNotFoundError as error:
                if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
                    raise error.__cause__ from error
                if self._remote.fs.protocol == "local" and not Path(self._remote.path).is_dir():
                    raise NotADirectoryError(f"there is no folder {self._remote.path}") from error
                return False
            return True

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Makes one error of all; a remote that was silent once is not asked again."""
        if self._silent is not None:
            raise self._silent
        try:
            yield
        except Exception as error:  # each kind of storage fails in its own way
            self._silent = UnreachableRemoteError(
                f"DVC's remote {self._remote_name} can't be asked ({' '.join(str(error).split())}); "
                "see `dvc remote list`."
            )
            raise self._silent from error

    @cached_property
    def _remote(self) -> Any:
        return self._repo.cloud.get_remote_odb()


def outputs_of(layout: Layout, lock: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and digest of each output of a lock's stages that DVC caches."""
    for stage, entry in lock.items():
        cached = cached_outputs(layout, stage)
        yield from ((out["path"], out["md5"]) for out in entry.get("outs", []) if out["path"] in cached)
