"""Masks and other drawings of films, which have a film's name and would become films of its class."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from medscreen.data.sources.class_names import MOST_NAMED, Place
from medscreen.data.sources.spelling import plain
from medscreen.errors import MedscreenError

_WORD = "(?:masks?|seg|segmentation|annotations?|contours?|ground[ _-]?truth|gt)"
_FILE = re.compile(rf"(?P<film>.+?)[ _-]+{_WORD}(?:[ _-]*\d+)?|{_WORD}[ _-]+(?P<other>.+)")


def require_no_masks(root: Path, images: Mapping[Path, Place]) -> None:
    """Raises MedscreenError where files are called as the masks of a film beside them (17.png and 17_mask.png)."""
    films = {(path.parent, plain(path.stem)) for path in images}
    drawn = [path for path in images if any((path.parent, stem) in films for stem in _films_of(plain(path.stem)))]
    if drawn:
        folders, classes = {images[path].name for path in drawn}, {place.name for place in images.values()}
        named = len(folders) == 1 and len(classes) <= MOST_NAMED
        where = f"the folder {min(folders)!r}" if named else f"{len(folders)} class folders"
        number = "1 file" if len(drawn) == 1 else f"{len(drawn)} files"
        raise MedscreenError(
            f"{root}: {number} of {where} would be films and are called as masks of "
            "others beside them (as in 17_mask.png beside 17.png); move these out of root."
        )


def _films_of(stem: str) -> Iterable[str]:
    match = _FILE.fullmatch(stem)
    return [film for film in match.groups() if film] if match else []
