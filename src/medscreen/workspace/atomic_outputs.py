"""Atomic replacement of files and folders, and cleanup after killed writers."""

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
_OTHER_MACHINE_S = 86_400  # in a shared folder, younger files may belong to a running process of another machine


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """Context with a temporary path beside `target`, renamed to it on success and removed on failure.

    Concurrent readers of `target` see the former content or none, never a partial one. Leftovers of killed writers are
    removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(target)
    partial = target.with_name(f".{target.name}.partial-{this_writer()}")
    try:
        yield partial
        if target.is_dir() and partial.is_dir():  # a folder can't be renamed onto a folder with files
            former = partial.with_name(partial.name + _FORMER)
            target.rename(former)
            partial.rename(target)
            shutil.rmtree(former)
        else:
            partial.replace(target)
    finally:
        _discard(partial)


def _clear_leftovers(target: Path) -> None:
    """Removes leftovers of killed writers of `target`; restores a former folder if `target` is missing."""
    for leftover in sorted(target.parent.glob(f".{target.name}.partial-*")):
        if is_writing(leftover.name.split(".partial-", 1)[1].removesuffix(_FORMER)):
            continue
        if leftover.name.endswith(_FORMER) and not target.exists():
            leftover.rename(target)
        else:
            _discard(leftover)


def clear_partials(folder: Path) -> None:
    """Removes all partial outputs of ended processes in `folder`.

    For targets with a time in their names, since `replaced` removes only leftovers of the same name.
    """
    for leftover in folder.glob(".*.partial-*"):
        found = _PARTIAL.fullmatch(leftover.name)
        if found and not found[3] and is_abandoned(leftover, found[1]):
            _discard(leftover)


def is_abandoned(path: Path, writer: str) -> bool:
    """True if the writer of a path has ended; for one of another machine or boot, if the path is also a day old."""
    is_of_this_boot = writer.endswith(f"-{_boot()}")
    return not is_writing(writer) and (is_of_this_boot or time.time() - path.lstat().st_mtime > _OTHER_MACHINE_S)


def this_writer() -> str:
    """Unique name of this process: process id, start time and boot of the machine."""
    return _writer(psutil.Process())


def is_writing(writer: str) -> bool:
    """True if the process with this name (see `this_writer`) is running."""
    number = writer.split("-", maxsplit=1)[0]
    if not number.isascii() or not number.isdigit():
        return False
    try:
        process = psutil.Process(int(number))
        # a zombie process still has its process id and start time
        return _writer(process) == writer and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError, OverflowError):
        return False


def _writer(process: psutil.Process) -> str:
    """Process id, start time and boot: the operating system reuses process ids."""
    try:
        # in ticks since boot, which do not change when the clock is set
        stat = Path(f"/proc/{process.pid}/stat").read_bytes()
        started = int(stat.rpartition(b")")[2].split()[19])  # the name in brackets may contain blanks and brackets
    except FileNotFoundError:  # not Linux: start as time of day
        started = int(process.create_time() * 100)
    return f"{process.pid}-{started}-{_boot()}"


@cache
def _boot() -> str:
    """Eight hexadecimal characters for this boot of the machine and the container (PID namespace)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return digest_of(f"{boot} {Path('/proc/self/ns/pid').readlink()}")[:8]
    except OSError:  # not Linux
        return "0" * 8


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
