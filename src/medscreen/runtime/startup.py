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
    """Makes warnings no errors, as Python begins without -W, and output that holds any letter printable anywhere.

    The libraries warn on their own when they are imported. Called before they are.
    """
    if sys.warnoptions and any(action == "error" for action, *_ in warnings.filters):
        sys.warnoptions.clear()  # which worker processes are given
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed, or another kind of object in its place
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def use_own_temporary_folder(layout: Layout) -> None:
    """Gives this process and its children a temporary folder of their own, and removes those of ended processes.

    It lies in the system's, or in .medscreen/ where the system's is missing, can't be written or has little room.
    """
    parent = _temporary_parent(layout)
    if parent is None or parent.name.startswith(f"{_PREFIX}{this_writer()}-"):
        return
    _clear(parent)
    try:
        own = tempfile.mkdtemp(prefix=f"{_PREFIX}{this_writer()}-", dir=parent)
    except OSError:
        return  # whoever needs one fails with the system's reason
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
    except OSError:  # a checkout that can only be read
        return usual
    return own


def _clear(parent: Path) -> None:
    """Removes the temporary folders that ended processes of this user have left."""
    for folder in parent.glob(f"{_PREFIX}*"):
        found = _OURS.fullmatch(folder.name)
        with suppress(OSError):
            if found and folder.lstat().st_uid == os.getuid() and is_abandoned(folder, found[1]):
                shutil.rmtree(folder, ignore_errors=True)
