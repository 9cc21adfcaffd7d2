"""File format of backups: a compressed tar of mlruns/ and studies/ with a manifest of digests as last member."""

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
# limits of memory use for untrusted files, far beyond any store
_MOST_FILES, _LARGEST_MANIFEST = 1_000_000, 256 << 20
# limit against decompression bombs: stores compress to a third or a tenth
_SMALL, _DENSEST = 1 << 30, 200


class _Manifest(BaseModel):
    """The last member of a backup; `files`: name -> digest of its content."""

    format: int
    medscreen: str
    at: datetime
    number_of_files: int
    files: dict[str, str]


def write(target: Path, mlruns: Path, snapshot: Path, studies: Path, level: int = 6) -> int:
    """Writes the files of both folders to `target`, with `snapshot` as mlflow.db; returns their number.

    Raises MedscreenError for links, devices, unreadable files and too many files, OSError if `target` can't be written.
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
        # Python's json keeps the surrogates of names that are not UTF-8
        text = json.dumps(manifest.model_dump(), indent=1, default=datetime.isoformat).encode()
        if len(digests) > _MOST_FILES or len(text) > _LARGEST_MANIFEST:
            raise MedscreenError(f"{mlruns} has {len(digests)} files, too many for a backup; copy the folder itself.")
        _add(archive, _MANIFEST, BytesIO(text), len(text))
    if level and archive.offset > _most_bytes(target):  # `unpack` would refuse it as a decompression bomb
        return write(target, mlruns, snapshot, studies, level=0)
    return len(digests)


def _files(mlruns: Path, studies: Path) -> Iterator[tuple[Path, str]]:
    """Files of a backup besides the database, with their names in the archive."""
    for path in sorted(mlruns.rglob("*")):
        below = path.relative_to(mlruns)
        # SQLite's files beside the database are not needed: the snapshot is complete
        if len(below.parts) > 1 or not (below.name in FROM_GIT or below.name.startswith("mlflow.db")):
            yield path, f"{_TOP}/{below.as_posix()}"
    for path in sorted(studies.rglob("*")):
        if not path.is_symlink():  # skip Optuna's lock on a journal
            yield path, f"{_STUDIES}/{path.relative_to(studies).as_posix()}"


def _content(path: Path) -> bytes | None:
    """A file's bytes, read at once since a training may be writing it; None for folders and removed files."""
    if path.is_symlink():
        raise MedscreenError(f"{path} is a link, which a backup can't hold; replace it by its target.")
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise MedscreenError(f"{path} is a pipe, a socket or a device, which a backup can't hold; remove it.")
        return path.read_bytes() if path.is_file() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MedscreenError(f"{path} can't be read ({error.strerror}); a backup needs every file.") from error


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    """Adds a member without its owner."""
    member = tarfile.TarInfo(name)
    member.mtime = int(datetime.now(UTC).timestamp())
    member.size = size
    archive.addfile(member, content)


def unpack(source: Path, folder: Path, studies: Path, room: int) -> bool:
    """Unpacks mlruns/ to the new `folder` and studies/ to `studies`; True if the format includes studies.

    `room`: maximum size of all files in bytes. Raises MedscreenError unless the backup is complete, undamaged and
    safe; the caller removes what was unpacked before.
    """
    folder.mkdir()
    digests: dict[str, str] = {}
    text = b""
    try:
        with _Forward(source) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                # regular files only; sparse ones need more room than their size
                is_file = member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} and not member.issparse()
                content = archive.extractfile(member) if is_file and _is_ours(member.name) else None
                if content is None or member.name in digests or text:
                    raise MedscreenError(
                        f"{source} holds {member.name!r}, which is not part of a backup; name another one."
                    )
                _require_room(source, member.offset_data + member.size, room)
                if member.name == _MANIFEST and member.size <= _LARGEST_MANIFEST:
                    text = content.read()
                elif member.name == _MANIFEST or len(digests) == _MOST_FILES:
                    raise MedscreenError(f"{source} holds more than a backup can; name another one.")
                else:
                    top, *below = PurePosixPath(member.name).parts
                    path = (folder if top == _TOP else studies).joinpath(*below)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    digests[member.name] = file_digest(path)
            while stream.read(_CHUNK):  # read to the end, where gzip's checksum is
                pass
    except EOFError as error:
        raise MedscreenError(f"{source} is incomplete; copy it again, or name another backup.") from error
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise MedscreenError(f"{source} is not a backup, or damaged ({error}); name another one.") from error
    return _checked(source, text, digests).format >= _WITH_STUDIES


def _checked(source: Path, text: bytes, digests: dict[str, str]) -> _Manifest:
    """The manifest of a backup, after comparison with the digests of the unpacked files."""
    try:
        manifest = _Manifest.model_validate(json.loads(text))
    except (ValueError, RecursionError) as error:  # pydantic's error is a ValueError
        raise MedscreenError(f"{source} is not a complete backup: its {_MANIFEST} is missing or damaged.") from error
    if not 1 <= manifest.format <= _FORMAT:
        raise MedscreenError(f"{source} has another format, of medscreen {manifest.medscreen}; use that version.")
    if manifest.files != digests or _DATABASE not in digests:
        differing = sorted({name for name, _ in manifest.files.items() ^ digests.items()} or {_DATABASE})
        name = visible(differing[0])
        raise MedscreenError(f"{source} is damaged: the digest of {name} differs; name another backup.")
    return manifest


def _require_room(source: Path, size: int, room: int) -> None:
    if size > room:
        raise MedscreenError(f"{source} holds more than the free {room / 1e9:.1f} GB; make room on the disk.")
    if size > _most_bytes(source):
        raise MedscreenError(f"{source} unpacks to over {_DENSEST} times its size, unlike a store; name another one.")


def _most_bytes(backup: Path) -> int:
    return max(_SMALL, _DENSEST * backup.stat().st_size)


class _Forward(gzip.GzipFile):
    """Forward-only gzip stream with small reads, against headers with huge names or circular offsets."""

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
    # normalized paths only: a/b and a//b would be the same file
    is_plain = str(path) == name and ".." not in path.parts
    return name == _MANIFEST or (is_plain and len(path.parts) > 1 and path.parts[0] in {_TOP, _STUDIES})
