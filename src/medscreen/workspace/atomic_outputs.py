"""Outputs that appear whole or not at all, and one writer at a time."""

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from medscreen.workspace.digests import digest_of

_FORMER = "-former"
_PARTIAL = re.compile(r"\..+\.partial-(\d+-\d+(-[0-9a-f]+)?)(-former)?")
_OTHER_MACHINE_S = 86_400  # in a shared folder, what is younger may be a living writer's of another machine


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
        if target.is_dir() and partial.is_dir():  # a folder can't be renamed onto a full one
            former = partial.with_name(partial.name + _FORMER)
            target.rename(former)
            partial.rename(target)
            shutil.rmtree(former)
        else:
            partial.replace(target)
    finally:
        _discard(partial)


def _clear_leftovers(target: Path) -> None:
    """Removes what killed writers of `target` left; a former folder goes back if nothing has taken its place."""
    for leftover in sorted(target.parent.glob(f".{target.name}.partial-*")):
        if is_writing(leftover.name.split(".partial-", 1)[1].removesuffix(_FORMER)):
            continue
        if leftover.name.endswith(_FORMER) and not target.exists():
            leftover.rename(target)
        else:
            _discard(leftover)


def clear_partials(folder: Path) -> None:
    """Removes the partial outputs of ended processes in `folder`, whatever their targets are called.

    For targets whose names hold a time: `replaced` clears only what is left of the same name.
    """
    for leftover in folder.glob(".*.partial-*"):
        found = _PARTIAL.fullmatch(leftover.name)
        if found and not found[3] and is_abandoned(leftover, found[1]):
            _discard(leftover)


def is_abandoned(path: Path, writer: str) -> bool:
    """True if the writer of a path has ended, or is of another machine and the path is a day old."""
    is_of_this_boot = writer.endswith(f"-{_boot()}")
    return not is_writing(writer) and (is_of_this_boot or time.time() - path.lstat().st_mtime > _OTHER_MACHINE_S)


def this_writer() -> str:
    """A name for this process that no later one gets: number, start and boot of the machine."""
    return _writer(psutil.Process())


def is_writing(writer: str) -> bool:
    """True if the process of this name (see `this_writer`) still runs."""
    number = writer.split("-", maxsplit=1)[0]
    if not number.isascii() or not number.isdigit():
        return False
    try:
        process = psutil.Process(int(number))
        # a process that ended and was not waited for keeps its number and start
        return _writer(process) == writer and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError, OverflowError):
        return False


def _writer(process: psutil.Process) -> str:
    """Number, start and boot: the number alone may be given again to another process."""
    try:
        # in ticks since the boot: the time of day of the start changes with every step of the clock
        stat = Path(f"/proc/{process.pid}/stat").read_bytes()
        started = int(stat.rpartition(b")")[2].split()[19])  # the name in brackets may hold blanks and brackets
    except FileNotFoundError:  # no Linux: the system keeps the time of day at which the process started
        started = int(process.create_time() * 100)
    return f"{process.pid}-{started}-{_boot()}"


@cache
def _boot() -> str:
    """Eight hexadecimal characters for this boot of this machine and, in it, the container whose processes are seen."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return digest_of(f"{boot} {Path('/proc/self/ns/pid').readlink()}")[:8]
    except OSError:  # no Linux
        return "0" * 8


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
