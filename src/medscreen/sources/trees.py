"""Folders of files as they really arrive: with what operating systems leave between the images."""

import os
from collections import Counter
from pathlib import Path

_LEFT_BEHIND = {name.casefold(): name for name in ("__MACOSX", ".DS_Store", "Thumbs.db", "ehthumbs.db", "desktop.ini")}


def left_behind(name: str) -> str | None:
    """What to call a file or folder that an operating system left, by its name; None for all others."""
    return _LEFT_BEHIND.get(name.casefold()) or ("hidden files or folders" if name.startswith(".") else None)


def files_below(folder: Path) -> tuple[list[Path], Counter[str]]:
    """The files below a folder, sorted, and what lies between them that is none of the data: name -> how often."""
    found: list[Path] = []
    aside: Counter[str] = Counter()
    for here, folders, files in os.walk(folder, onerror=lambda _: aside.update(["folders that can't be read"])):
        aside.update(what for name in (*folders, *files) if (what := left_behind(name)))
        folders[:] = [name for name in folders if not left_behind(name)]
        aside.update("linked folders, which are not followed" for name in folders if Path(here, name).is_symlink())
        found += [Path(here, name) for name in files if not left_behind(name)]
    return sorted(found), aside
