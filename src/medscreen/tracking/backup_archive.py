"""The format of a backup: a compressed tar of mlruns/ and studies/ that ends with the digest of each file."""

import gzip
import json
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from io import SEEK_CUR, SEEK_SET, BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import BaseModel

from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import visible
from medscreen.tracking.store_swap import FROM_GIT
from medscreen.workspace.digests import digest_of, file_digest

_FORMAT = _WITH_STUDIES = 2  # 1: without studies/
_TOP, _STUDIES = "mlruns", "studies"
_DATABASE = f"{_TOP}/mlflow.db"
_MANIFEST = "backup.json"
_CHUNK = 1 << 20
# what a file may make this process hold in memory; both are far beyond any store
_MOST_FILES, _LARGEST_MANIFEST = 1_000_000, 256 << 20
# a store is compressed to a third or a tenth; a thousandth is zeros that fill the disk
_SMALL, _DENSEST = 1 << 30, 200


class _Manifest(BaseModel):
    """The last member of a backup; `files`: name -> digest of its content."""

    format: int
    medscreen: str
    at: datetime
    number_of_files: int
    files: dict[str, str]


def write(target: Path, mlruns: Path, snapshot: Path, studies: Path, level: int = 6) -> int:
    """Writes the files of both folders to `target`, the copied database in the place of its own; returns their number.

    Raises MedscreenError for a link or a device, for a file that can't be read, and for more than a backup can hold;
    OSError where `target` can't be written.
    """
    with tarfile.open(target, "w:gz", compresslevel=level) as archive:
        digests = {_DATABASE: file_digest(snapshot)}
        with snapshot.open("rb") as database:
            _add(archive, _DATABASE, database, snapshot.stat().st_size)
        for path, name in _files(mlruns, studies):
            content = _content(path)
            if content is not None:
                digests[name] = digest_of(content)
                _add(archive, name, BytesIO(content), len(content))
        manifest = _Manifest(
            format=_FORMAT,
            medscreen=version("medscreen"),
            at=datetime.now(UTC),
            number_of_files=len(digests),
            files=digests,
        )
        # names that are not UTF-8 hold surrogates, which only Python's own JSON keeps
        text = json.dumps(manifest.model_dump(), indent=1, default=datetime.isoformat).encode()
        if len(digests) > _MOST_FILES or len(text) > _LARGEST_MANIFEST:
            raise MedscreenError(
                f"{mlruns} holds {len(digests)} files, more than a backup can; copy the folder itself."
            )
        _add(archive, _MANIFEST, BytesIO(text), len(text))
    if level and archive.offset > _most_bytes(target):  # `unpack` would take it for zeros that fill the disk
        return write(target, mlruns, snapshot, studies, level=0)
    return len(digests)


def _files(mlruns: Path, studies: Path) -> Iterator[tuple[Path, str]]:
    """Files of a backup besides the database, with their names in the archive."""
    for path in sorted(mlruns.rglob("*")):
        below = path.relative_to(mlruns)
        # what SQLite keeps beside its file is in the copy
        if len(below.parts) > 1 or not (below.name in FROM_GIT or below.name.startswith("mlflow.db")):
            yield path, f"{_TOP}/{below.as_posix()}"
    for path in sorted(studies.rglob("*")):
        if not path.is_symlink():  # Optuna's lock on a journal
            yield path, f"{_STUDIES}/{path.relative_to(studies).as_posix()}"


def _content(path: Path) -> bytes | None:
    """A file's bytes, read at once because a training may be writing it; None for folders and what has gone since."""
    if path.is_symlink():
        raise MedscreenError(f"{path} is a link, which a backup can't hold; put what it leads to in its place.")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise MedscreenError(f"{path} is a pipe, a socket or a device, which a backup can't hold; remove it.")
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MedscreenError(f"{path} can't be read ({error.strerror}); a backup needs every file.") from error


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    """Adds a member without the name of its owner."""
    member = tarfile.TarInfo(name)
    member.mtime = int(datetime.now(UTC).timestamp())
    member.size = size
    archive.addfile(member, content)


def unpack(source: Path, folder: Path, studies: Path, room: int) -> bool:
    """Makes the new `folder` what mlruns/ was, and `studies` what studies/ was.

    `room`: the bytes that the files may have in all. Returns whether the backup is of a form that holds the studies.
    Raises MedscreenError unless it is a whole and harmless backup; what was unpacked until then is of no use.
    """
    folder.mkdir()
    digests: dict[str, str] = {}
    text = b""
    try:
        with _Forward(source) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                # no link, no device, and no sparse file: its size is no measure of what has to be written
                is_file = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} and not member.issparse()
                content = archive.extractfile(member) if is_file and _is_ours(member.name) else None
                if content is None or member.name in digests or text:
                    raise MedscreenError(
                        f"{source} holds {member.name!r}, as no backup of medscreen does; name another."
                    )
                _require_room(source, member.offset_data + member.size, room)
                if member.name == _MANIFEST and member.size <= _LARGEST_MANIFEST:
                    text = content.read()
                elif member.name == _MANIFEST or len(digests) == _MOST_FILES:
                    raise MedscreenError(f"{source} holds more than a backup of medscreen can; name another.")
                else:
                    top, *below = PurePosixPath(member.name).parts
                    path = (folder if top == _TOP else studies).joinpath(*below)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    digests[member.name] = file_digest(path)
            while stream.read(_CHUNK):  # the checksum of all is at the very end
                pass
    except EOFError as error:
        raise MedscreenError(f"{source} is cut short; copy it again, or name another backup.") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise MedscreenError(f"{source} is no backup, or a damaged one ({error}); name another.") from error
    return _checked(source, text, digests).format >= _WITH_STUDIES


def _checked(source: Path, text: bytes, digests: dict[str, str]) -> _Manifest:
    """The manifest of a backup, with which the digests of its files agree."""
    try:
        manifest = _Manifest.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:  # pydantic's error is a ValueError
        raise MedscreenError(f"{source} is no whole backup: its {_MANIFEST} is missing or damaged.") from error
    if not 1 <= manifest.format <= _FORMAT:
        raise MedscreenError(f"{source} was made by medscreen {manifest.medscreen}, in another form; use that one.")
    if manifest.files != digests or _DATABASE not in digests:
        differing = sorted({name for name, _ in manifest.files.items() ^ digests.items()} or {_DATABASE})
        name = visible(differing[0])
        raise MedscreenError(f"{source} is damaged: {name} is not what was backed up; name another backup.")
    return manifest


def _require_room(source: Path, size: int, room: int) -> None:
    if size > room:
        raise MedscreenError(f"{source} holds more than {room / 1e9:.1f} GB, which is the room there is; make more.")
    if size > _most_bytes(source):
        raise MedscreenError(f"{source} holds more than {_DENSEST} times its size, as no store does; name another.")


def _most_bytes(backup: Path) -> int:
    return max(_SMALL, _DENSEST * backup.stat().st_size)


class _Forward(gzip.GzipFile):
    """A stream read once, in small pieces: a header may claim gigabytes for a name, or lead back in a circle."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _CHUNK:
            raise tarfile.ReadError("a header that claims too much")
        return super().read(size)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        is_tell = (offset, whence) == (0, SEEK_CUR)
        if not is_tell and (whence != SEEK_SET or offset < self.tell()):
            raise tarfile.ReadError("a header that leads back")
        return super().seek(offset, whence)


def _is_ours(name: str) -> bool:
    path = PurePosixPath(name)
    # written in one way alone: a/b and a//b would be one file
    is_plain = str(path) == name and ".." not in path.parts
    return name == _MANIFEST or (is_plain and len(path.parts) > 1 and path.parts[0] in {_TOP, _STUDIES})
