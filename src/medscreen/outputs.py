"""Outputs that appear whole or not at all, and one writer at a time."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed onto it when the block ends well, removed when it fails.

    Whoever reads `target` meanwhile sees the former content or none, never half of the new one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _discard_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        yield partial
        if target.is_dir() and not target.is_symlink():
            # A directory can't be renamed onto a full one: move the former aside first.
            former = target.with_name(f".{target.name}.partial-{os.getpid()}-former")
            target.rename(former)
            partial.rename(target)
            shutil.rmtree(former)
        else:
            partial.replace(target)
    finally:
        _discard(partial)


def _discard_leftovers(target: Path) -> None:
    """Removes what a killed writer of `target` left; safe because stages hold a lock while they write."""
    for leftover in target.parent.glob(f".{target.name}.partial-*"):
        pid = leftover.name.split(".partial-", 1)[1].split("-")[0]
        if not _alive(pid):
            _discard(leftover)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
