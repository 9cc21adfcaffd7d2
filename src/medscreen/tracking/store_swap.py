"""Crash-safe exchange of MLflow's store; a kill leaves either store in place and loses neither."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from medscreen.workspace.layout import Layout

# files of mlruns/ that are in git: part of the checkout, not of the store
FROM_GIT = frozenset({"README.md", ".gitignore"})
_FORMER = "mlruns-before-restore-"
STUDIES = ".studies"
"""Temporary folder in a restored store for the studies of the backup."""


def exchange(layout: Layout, restored: Path) -> Path | None:
    """Replaces mlruns/ by the folder `restored`; returns the folder of the former store.

    Studies in `restored` (possibly an empty folder) replace studies/; the former ones move to the former store. None
    if the former store has only files that are in git. The caller holds the store's lock and has called `settle`.
    """
    # a leading dot marks an exchange in progress; removing it is the last step
    former = layout.home / f".{_former_name()}"
    if os.path.lexists(layout.mlruns):
        layout.mlruns.rename(former)
    elif (restored / STUDIES).is_dir():
        former.mkdir()
    try:
        restored.rename(layout.mlruns)
    finally:
        kept = settle(layout)
    return kept


def settle(layout: Layout) -> Path | None:
    """Completes an interrupted exchange if the restored store is in place, else moves the former one back.

    Returns the folder of the former store, None if there is none. The caller holds the store's lock.
    """
    kept = None
    for former in sorted(layout.home.glob(f".{_FORMER}*")):
        if (layout.mlruns / "mlflow.db").is_file():
            _put_studies(layout, former)
            kept = _keep(former, former.with_name(former.name.removeprefix(".")))
            continue
        if os.path.lexists(layout.mlruns):  # the folder was created again, by git or by hand
            _keep(layout.mlruns, layout.home / _former_name())
        former.rename(layout.mlruns)
    return kept


def _put_studies(layout: Layout, former: Path) -> None:
    waiting = layout.mlruns / STUDIES
    if waiting.is_dir():
        if os.path.lexists(layout.studies):
            layout.studies.rename(former / layout.studies.name)
        if any(waiting.iterdir()):
            waiting.rename(layout.studies)
        else:
            waiting.rmdir()


def _former_name() -> str:
    return f"{_FORMER}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


def _keep(folder: Path, kept: Path) -> Path | None:
    if not folder.is_symlink() and all(path.name in FROM_GIT for path in folder.iterdir()):
        shutil.rmtree(folder)
        return None
    folder.rename(kept)
    return kept
