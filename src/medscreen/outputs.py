"""Outputs that appear whole or not at all, and one writer at a time."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

_FORMER = "-former"


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed onto it when the block ends well, removed when it fails.

    Whoever reads `target` meanwhile sees the former content or none, never half of the new one. What a killed
    writer left beside `target` is cleared away first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{this_writer()}")
    try:
        yield partial
        if target.is_dir() and partial.is_dir():
            _exchange(partial, target)
        else:
            partial.replace(target)
    finally:
        _discard(partial)


def _exchange(partial: Path, target: Path) -> None:
    """Puts one folder in the place of another: a folder can't be renamed onto a full one."""
    former = partial.with_name(partial.name + _FORMER)
    target.rename(former)
    partial.rename(target)
    shutil.rmtree(former)


def _clear_leftovers(target: Path) -> None:
    """Removes what killed writers of `target` left; a former folder goes back if nothing has taken its place."""
    for leftover in sorted(target.parent.glob(f".{target.name}.partial-*")):
        if is_writing(leftover.name.split(".partial-", 1)[1].removesuffix(_FORMER)):
            continue
        if leftover.name.endswith(_FORMER) and not target.exists():
            leftover.rename(target)
        else:
            _discard(leftover)


def this_writer() -> str:
    """A name for this process that no later one gets."""
    return _writer(psutil.Process())


def _writer(process: psutil.Process) -> str:
    # its number alone may be given again to another process
    return f"{process.pid}-{int(process.create_time() * 100)}"


def is_writing(writer: str) -> bool:
    """Whether the process that called itself this (see `this_writer`) still runs."""
    try:
        process = psutil.Process(int(writer.split("-", maxsplit=1)[0]))
        # a process that ended and was not waited for keeps its number and start
        return _writer(process) == writer and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, psutil.Error):
        return False


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
