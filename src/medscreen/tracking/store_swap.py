"""One store in the place of another; a kill at any moment leaves the one or the other, and loses neither."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from medscreen.workspace.layout import Layout

# What git keeps of mlruns/: it belongs to the checkout, not to the store.
FROM_GIT = frozenset({"README.md", ".gitignore"})
_FORMER = "mlruns-before-restore-"
STUDIES = ".studies"
"""The folder of a restored store in which the studies of the backup wait for their place."""


def exchange(layout: Layout, restored: Path) -> Path | None:
    """Puts the folder `restored` in the place of mlruns/ and returns where the former one is kept.

    The studies that `restored` holds, be it none in an empty folder, take the place of studies/, and the former ones
    are kept within the former store.
    None if there is nothing to keep but what git keeps. The caller holds the store's lock and has called `settle`.
    """
    # the dot says that the exchange goes on: dropping it is the last step
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
    """Ends an exchange that was cut short: the former store goes back unless the restored one is in its place.

    Returns where the former one is kept, None if there is none to keep. The caller holds the store's lock.
    """
    kept = None
    for former in sorted(layout.home.glob(f".{_FORMER}*")):
        if (layout.mlruns / "mlflow.db").is_file():
            _put_studies(layout, former)
            kept = _keep(former, former.with_name(former.name.removeprefix(".")))
            continue
        if os.path.lexists(layout.mlruns):  # git, or a person, has made the folder again
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
