"""Unpacks zip archives of unknown origin below one folder, or refuses them."""

import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from medscreen.data.sources.file_trees import left_behind
from medscreen.errors import MedscreenError

# Images hardly compress; text, which does, is small.
_MOST_EXPANSION = 100
_HARMLESS_BYTES = 1 << 30


def unpack(archive: Path, folder: Path) -> int:
    """Writes the files of a zip archive, except those of operating systems, into an empty folder; returns their number.

    Names and sizes are checked before anything is written. Raises MedscreenError for a damaged archive; for names that
    lead out of the folder, links, and names that some file systems treat as equal; and for contents that are far larger
    than the archive, or larger than the free disk space.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not any(map(left_behind, _parts(archive, member)))]
            _require_sound(archive, members)
            _require_room(archive, members, folder)
            files = [member for member in members if not member.is_dir()]
            for member in files:
                target = folder.joinpath(*_parts(archive, member))
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # the last two are zipfile's for other compressions and passwords
        raise MedscreenError(
            f"{archive} is damaged or not a plain zip archive ({error}); delete it and fetch again."
        ) from error
    except OSError as error:
        raise MedscreenError(f"{archive.name} can't be unpacked to {folder} ({error.strerror or error}).") from error
    if not files:
        raise MedscreenError(f"{archive} holds no file; delete it and fetch again.")
    return len(files)


def _parts(archive: Path, member: zipfile.ZipInfo) -> tuple[str, ...]:
    """The folders and the file of a member's name; raises MedscreenError for one that leads out of any folder."""
    path, name = PurePosixPath(member.filename), member.orig_filename
    foreign = "\\" in name or "\0" in name or PureWindowsPath(member.filename).drive
    if path.is_absolute() or foreign or ".." in path.parts or not path.parts:
        raise MedscreenError(f"{archive.name} holds {name!r}, which leads out of its folder; refused.")
    return path.parts


def _require_sound(archive: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    seen: dict[str, tuple[str, bool]] = {}  # name without case -> name as written, True for a file
    for member in members:
        if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise MedscreenError(f"{archive.name} holds {member.filename!r}, which is a link or device; refused.")
        parts = _parts(archive, member)
        for depth in range(1, len(parts) + 1):
            name, is_file = "/".join(parts[:depth]), depth == len(parts) and not member.is_dir()
            folded = unicodedata.normalize("NFC", name).casefold()
            first = seen.get(folded)
            if first and (is_file or first != (name, False)):
                raise MedscreenError(
                    f"{archive.name} holds {name!r} and {first[0]!r}, equal on some file systems; refused."
                )
            seen[folded] = name, is_file


def _require_room(archive: Path, members: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    packed, unpacked = sum(member.compress_size for member in members), sum(member.file_size for member in members)
    held, free = archive.stat().st_size, shutil.disk_usage(folder).free
    # members that share bytes, as in bombs, have more bytes in sum than the archive
    if packed > held or unpacked > max(_HARMLESS_BYTES, _MOST_EXPANSION * held):
        raise MedscreenError(
            f"{archive.name} has {held} bytes and would unpack to {unpacked}, too many for images; refused."
        )
    if unpacked > free:
        raise MedscreenError(f"{archive.name} needs {unpacked} bytes below {folder}, {free} are free; make room.")
