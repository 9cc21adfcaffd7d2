"""Process startup: warnings, output, temporary files."""

import atexit
import os
import re
import shutil
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

from medscreen.workspace.atomic_outputs import is_abandoned, this_writer
from medscreen.workspace.layout import Layout

_PREFIX = "medscreen-"
_OURS = re.compile(_PREFIX + r"(\d+-\d+-[0-9a-f]+)-.*")
_ENOUGH = 1 << 30


def prepare_process() -> None:
    """Resets warnings that -W turned into errors, and lets streams escape characters that they can't encode.

    Must be called before libraries are imported, since these warn on import.
    """
    if sys.warnoptions and any(action == "error" for action, *_ in warnings.filters):
        sys.warnoptions.clear()  # passed on to worker processes
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed, or replaced by another object
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def use_own_temporary_folder(layout: Layout) -> None:
    """Sets a separate temporary folder for this process and its children; removes those of ended processes.

    It is below the system's temporary folder, or below .medscreen/ if that is missing, read-only or nearly full.
    """
    parent = _temporary_parent(layout)
    if parent is None or parent.name.startswith(f"{_PREFIX}{this_writer()}-"):
        return
    _clear(parent)
    try:
        own = tempfile.mkdtemp(prefix=f"{_PREFIX}{this_writer()}-", dir=parent)
    except OSError:
        return  # a later use of a temporary file raises the system's error
    tempfile.tempdir = os.environ["TMPDIR"] = own
    atexit.register(shutil.rmtree, own, ignore_errors=True)


def _temporary_parent(layout: Layout) -> Path | None:
    usual = None
    try:
        usual = Path(tempfile.gettempdir())
        if shutil.disk_usage(usual).free >= min(_ENOUGH, shutil.disk_usage(layout.home).free):
            return usual
    except OSError:
        pass
    own = layout.scratch / "tmp"
    try:
        own.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only checkout
        return usual
    return own


def _clear(parent: Path) -> None:
    """Removes temporary folders left by ended processes of this user."""
    for folder in parent.glob(f"{_PREFIX}*"):
        found = _OURS.fullmatch(folder.name)
        with suppress(OSError):
            if found and folder.lstat().st_uid == os.getuid() and is_abandoned(folder, found[1]):
                shutil.rmtree(folder, ignore_errors=True)
