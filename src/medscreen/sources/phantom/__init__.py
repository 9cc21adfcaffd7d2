"""The embedded data set: simulated chest films as hospitals would export them. Nobody's body."""

import json
from pathlib import Path
from typing import Any

from medscreen.codebase import code_digest
from medscreen.errors import MedscreenError
from medscreen.outputs import replaced
from medscreen.params import PhantomParams
from medscreen.sources.phantom.forms import FORMS, NPZ_FLAG, Form, write_phantom

__all__ = ["FORMS", "NPZ_FLAG", "Form", "find_files"]

_MARKER = ".phantom.json"


def find_files(params: PhantomParams, root: Path, workers: int, form: Form = "dicom") -> list[Path]:
    """The phantom's files, written first unless they are there, made by this very code with these settings.

    Raises MedscreenError if `root` holds something else.
    """
    settings = params.model_dump(exclude={"root"}) | {"form": form, "code": code_digest(__name__)}
    marker = root / _MARKER
    if not (marker.is_file() and marker.read_text() == _mark(settings, _files(root))):
        if root.exists() and not marker.is_file() and not (root.is_dir() and not any(root.iterdir())):
            raise MedscreenError(
                f"{root} holds files that are not the phantom's; move them or name another folder for it."
            )
        with replaced(root) as partial:
            partial.mkdir(parents=True)
            write_phantom(params, form, partial, workers)
            (partial / _MARKER).write_text(_mark(settings, _files(partial)))
    return _files(root)


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and path != root / _MARKER)


def _mark(settings: dict[str, Any], files: list[Path]) -> str:
    """What the marker says: compared as text, so that one cut short is a phantom to be written again."""
    return json.dumps(settings | {"files": len(files)}, indent=1)
