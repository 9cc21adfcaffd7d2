"""The file that a backup is: a compressed tar of mlruns/ that ends with the digest of each of its files."""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import BaseModel, ValidationError

from medscreen.errors import MedscreenError
from medscreen.tracking.exchange import FROM_GIT

_FORMAT = 1
_TOP = "mlruns"
_DATABASE = f"{_TOP}/mlflow.db"
_MANIFEST = "backup.json"
_CHUNK = 1 << 20


class _Manifest(BaseModel):
    """The last member of a backup: what the others have to be, as 32 hexadecimal characters of blake2b each."""

    format: int
    medscreen: str
    at: datetime
    number_of_files: int
    files: dict[str, str]


def write(target: Path, mlruns: Path, snapshot: Path) -> int:
    """Writes the files below `mlruns` to `target`, the copied database in the place of its own; returns their number.

    Raises MedscreenError for a link and for a file that can't be read, OSError where `target` can't be written.
    """
    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        with snapshot.open("rb") as database:
            digests = {_DATABASE: _add(archive, _DATABASE, database)}
        for path in sorted(mlruns.rglob("*")):
            below = path.relative_to(mlruns)
            # what SQLite keeps beside its file is in the copy
            if len(below.parts) == 1 and (below.name in FROM_GIT or below.name.startswith("mlflow.db")):
                continue
            content = _content(path)
            if content is not None:
                name = f"{_TOP}/{below.as_posix()}"
                digests[name] = _add(archive, name, BytesIO(content))
        manifest = _Manifest(
            format=_FORMAT,
            medscreen=version("medscreen"),
            at=datetime.now(UTC),
            number_of_files=len(digests),
            files=digests,
        )
        _add(archive, _MANIFEST, BytesIO(manifest.model_dump_json(indent=1).encode()))
    return len(digests)


def _content(path: Path) -> bytes | None:
    """A file's bytes, read at once because a training may be writing it; None for folders and what has gone since."""
    if path.is_symlink():
        raise MedscreenError(f"{path} is a link, which a backup can't hold; put what it leads to in its place.")
    try:
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MedscreenError(f"{path} can't be read ({error.strerror}); a backup needs every file.") from error


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> str:
    """Adds a member, without saying whose it was, and returns its digest."""
    member = tarfile.TarInfo(name)
    member.mtime = int(datetime.now(UTC).timestamp())
    member.size = content.seek(0, os.SEEK_END)
    content.seek(0)
    digest = _digest(content)
    content.seek(0)
    archive.addfile(member, content)
    return digest


def check(source: Path) -> None:
    """Reads a backup from end to end; raises MedscreenError unless it is one, whole, and safe to unpack."""
    digests: dict[str, str] = {}
    text = b""
    with _opened(source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isreg() and _is_ours(member.name) else None
            if content is None or member.name in digests:
                raise MedscreenError(f"{source} holds {member.name!r}, as no backup of medscreen does; name another.")
            if member.name == _MANIFEST:
                text = content.read()
            else:
                digests[member.name] = _digest(content)
    try:
        manifest = _Manifest.model_validate_json(text)
    except ValidationError as error:
        raise MedscreenError(f"{source} is no whole backup: its {_MANIFEST} is missing or damaged.") from error
    if manifest.format > _FORMAT:
        raise MedscreenError(f"{source} was made by medscreen {manifest.medscreen}, which is newer; restore it there.")
    if manifest.files != digests or _DATABASE not in digests:
        differing = sorted({name for name, _ in manifest.files.items() ^ digests.items()} or {_DATABASE})
        raise MedscreenError(f"{source} is damaged: {differing[0]} is not what was backed up; name another backup.")


def unpack(source: Path, folder: Path) -> None:
    """Makes `folder` what mlruns/ was; `source` has passed `check`."""
    folder.mkdir()
    with _opened(source) as archive:
        for member in archive:
            if member.name != _MANIFEST:
                name = PurePosixPath(member.name).relative_to(_TOP)
                archive.extract(member.replace(name=str(name)), folder, filter="data")


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with gzip.open(source) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            yield archive
            while stream.read(_CHUNK):  # the checksum of all is at the very end
                pass
    except EOFError as error:
        raise MedscreenError(f"{source} is cut short; copy it again, or name another backup.") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error) as error:
        raise MedscreenError(f"{source} is no backup, or a damaged one ({error}); name another.") from error


def _is_ours(name: str) -> bool:
    path = PurePosixPath(name)
    return name == _MANIFEST or (len(path.parts) > 1 and path.parts[0] == _TOP and ".." not in path.parts)


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
