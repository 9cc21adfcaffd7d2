"""The phantom's folder: written where it is missing, or made by other code or settings."""

import json
from pathlib import Path
from typing import Any

from medscreen.config.datasets import PhantomParams
from medscreen.data.sources.phantom.forms import Form, write_phantom
from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.code_digest import code_digest

_MARKER = ".phantom.json"


def find_files(params: PhantomParams, root: Path, workers: int, form: Form = "dicom") -> list[Path]:
    """The phantom's files, written first unless they are there, made by this very code with these settings.

    Raises MedscreenError if `root` is no folder, or holds something that is not the phantom's.
    """
    code = code_digest(["src/medscreen/data/sources/phantom"])
    settings = params.model_dump(exclude={"root"}) | {"form": form, "code": code}
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise MedscreenError(f"{root} is no folder that can be filled; name another one.")
    here, marked = _sizes(root), _read_marker(root)
    if foreign := sorted(here.keys() - marked["files"].keys()):
        raise MedscreenError(f"{root} holds {foreign[0]}, which is not the phantom's; move it or name another folder.")
    if marked != {"settings": settings, "files": here} or not here:
        with replaced(root) as partial:
            partial.mkdir(parents=True)
            write_phantom(params, form, partial, workers)
            marker = {"settings": settings, "files": _sizes(partial)}
            (partial / _MARKER).write_text(json.dumps(marker, indent=1))
    return [root / name for name in sorted(_sizes(root))]


def _sizes(root: Path) -> dict[str, int]:
    """File -> bytes, of all below `root` but the marker."""
    files = (path for path in root.rglob("*") if path.is_file() and path != root / _MARKER)
    return {path.relative_to(root).as_posix(): path.stat().st_size for path in files}


def _read_marker(root: Path) -> dict[str, Any]:
    """Settings and files of the last export; none where the marker is missing or damaged."""
    try:
        marker: dict[str, Any] = json.loads((root / _MARKER).read_text())
        return {"settings": marker["settings"], "files": dict(marker["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"settings": None, "files": {}}
