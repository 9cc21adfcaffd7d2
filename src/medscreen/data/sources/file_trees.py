"""Files below a data set's folders, without files that operating systems leave there."""

import os
import stat
from collections import Counter
from pathlib import Path

from medscreen.errors import MedscreenError

_NAMES = (
    "__MACOSX", ".DS_Store", "Icon\r", "Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN",
    "System Volume Information", "lost+found", "@eaDir", "#recycle", "#snapshot",
)  # fmt: skip
_LEFT_BEHIND = {name.casefold(): name.strip() for name in _NAMES}
_ORIGIN = ":zone.identifier"  # a file's origin, stored by Windows; copies on other systems have it as a separate file


def left_behind(name: str) -> str | None:
    """Note for a file or folder that an operating system left, by its name; None for all others."""
    folded = name.casefold()
    if folded.endswith(_ORIGIN):
        return "Zone.Identifier"
    return _LEFT_BEHIND.get(folded) or ("hidden files or folders" if name.startswith(".") else None)


def files_below(folder: Path, root: Path) -> tuple[list[Path], Counter[str]]:
    """The regular files below a folder of the data set at `root`, sorted, and notes on other entries -> their number.

    A link counts as its target, which has to be below the root or the folder, both with links resolved.
    """
    homes = (root.resolve(), folder.resolve())
    found: list[Path] = []
    skipped: Counter[str] = Counter()
    for here, folders, files in os.walk(folder, onerror=lambda _: skipped.update(["folders that can't be read"])):
        # sorted, so that the order of notes depends on the files only
        skipped.update(what for name in (*sorted(folders), *sorted(files)) if (what := left_behind(name)))
        folders[:] = sorted(name for name in folders if not left_behind(name))
        skipped.update("linked folders, which are not followed" for name in folders if Path(here, name).is_symlink())
        for path in (Path(here, name) for name in sorted(files) if not left_behind(name)):
            if what := _stranger(path, homes):
                skipped[what] += 1
            else:
                found.append(path)
    return sorted(found), skipped


def required_files(folder: Path, root: Path, what: str) -> tuple[list[Path], Counter[str]]:
    """As `files_below`; raises MedscreenError if there is no file. `what`: files to add or settings to correct."""
    files, skipped = files_below(folder, root)
    if not files:
        raise MedscreenError(f"{folder} holds no file{in_words(skipped)}. Add {what} in params.yaml.")
    return files, skipped


def written_name(path: Path) -> str:
    """A path for printing and storing; bytes that are not UTF-8 are written as `\\xff`."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")


def name_below(path: Path, root: Path) -> str:
    """The name of a file below `root` in records, manifests and reports."""
    return written_name(path.relative_to(root))


def in_words(skipped: Counter[str]) -> str:
    """Skipped entries in parentheses, for the end of a sentence; "" if there are none."""
    return f" ({', '.join(f'{number} {what}' for what, number in skipped.items())})" if skipped else ""


def _stranger(path: Path, homes: tuple[Path, ...]) -> str | None:
    """Note for a path that is not a regular file of the data set, or not an image by its name; None for all others."""
    if path.name.casefold() == "dicomdir":  # which begins as DICOM images do
        return "DICOMDIR, which lists images"
    try:
        kind = path.stat().st_mode
        leads_out = path.is_symlink() and not any(path.resolve().is_relative_to(home) for home in homes)
    except (OSError, RuntimeError):  # no target, or circular links
        return "links that lead nowhere"
    if leads_out:
        return "links that lead out of the data set"
    return None if stat.S_ISREG(kind) else "pipes, sockets or devices"
