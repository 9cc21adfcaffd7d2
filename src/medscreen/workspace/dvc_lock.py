"""Repair of dvc.lock: DVC rewrites it in place, and a kill leaves an incomplete file that stops `dvc repro`."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout

_COMMITS = 50


def keep_lock(layout: Layout) -> None:
    """Copies dvc.lock at the start of a stage, when DVC has read the file and is not writing it."""
    if os.environ.get("DVC_STAGE") and layout.workspace == layout.home:
        content = _read(layout.lock)
        if content and content != _read(layout.kept_lock):
            _write(layout.kept_lock, content)


def mend_lock(layout: Layout) -> str:
    """Replaces an incomplete dvc.lock by the last complete one; returns a message, "" if dvc.lock is complete.

    The last complete one is the copy of a stage or an earlier call, else git's. Without either, dvc.lock is moved away
    and DVC creates it again. A lock with merge conflicts is not changed. Raises MedscreenError while DVC runs, and if
    dvc.lock is a folder.
    """
    if layout.lock.is_dir():
        raise MedscreenError(f"{layout.lock} is a folder. Move it away and restore the file with git or `dvc repro`.")
    content = _read(layout.lock)
    if content is None or content.startswith(b"<<<<<<< ") or b"\n<<<<<<< " in content:
        return ""
    if _is_sound(layout, content):
        if content != _read(layout.kept_lock):
            _write(layout.kept_lock, content)
        return ""
    with _without_dvc(layout):
        content = _read(layout.lock)
        if content is None or _is_sound(layout, content):
            return ""  # DVC was writing it and has ended
        broken = _set_aside(layout.kept_lock.with_name("dvc.lock.broken"), content)
        copies = [("its last copy", _read(layout.kept_lock)), *(("git", of) for of in _versions(layout, "HEAD", 1))]
        for source, whole in copies:
            if whole and _is_whole(whole):
                _write(layout.lock.resolve(), whole)  # dvc.lock may be a symlink
                return f"dvc.lock was incomplete and was replaced by {source}; the incomplete file is {broken}."
        layout.lock.resolve().unlink()
    return f"dvc.lock was incomplete and has no copy; it was moved to {broken}. `dvc repro` creates it again."


def _set_aside(broken: Path, content: bytes) -> Path:
    """Saves a broken lock beside earlier ones; returns its path."""
    for number in count(1):
        path = broken if number == 1 else broken.with_name(f"{broken.name}.{number}")
        if (kept := _read(path)) is None:
            _write(path, content)
        if kept in {None, content}:
            break
    return path


def _is_whole(content: bytes) -> bool:
    """True if DVC can load a lock; checks duplicate keys and the schema."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from dvc.utils.strictyaml import YAMLValidationError, validate

    # without a final line break the last value may be truncated, unless it is a digest of full length
    if b"\0" in content or not re.search(rb"\n\Z|: [0-9a-f]{32}(\.dir)?\Z", content):
        return False
    try:
        validate(parse_yaml(content.decode(), "dvc.lock"), COMPILED_LOCKFILE_SCHEMA)
    except (YAMLFileCorruptedError, YAMLValidationError, ValueError, RecursionError):
        return False
    return True


def _is_sound(layout: Layout, content: bytes) -> bool:
    """True if a lock is complete: loadable, and not the copy truncated between lines unless a commit has it."""
    kept = _read(layout.kept_lock) or b""
    is_cut = content != kept and kept.startswith(content)
    return _is_whole(content) and not (is_cut and content not in _versions(layout, "--all", _COMMITS))


def _versions(layout: Layout, revision: str, most: int) -> list[bytes]:
    """Contents of dvc.lock in the last commits that changed it, newest first."""
    from git import Repo
    from git.exc import GitError

    found: list[bytes] = []
    with suppress(GitError, ValueError, OSError):
        repository = Repo(layout.workspace, search_parent_directories=True)
        path = layout.lock.resolve().relative_to(Path(str(repository.working_tree_dir)).resolve()).as_posix()
        for commit in repository.iter_commits(revision, paths=path, max_count=most):
            with suppress(KeyError):  # this commit removed it
                found.append((commit.tree / path).data_stream.read())
    return found


@contextmanager
def _without_dvc(layout: Layout) -> Iterator[None]:
    """Context with DVC's lock on the checkout, which every writer of dvc.lock holds."""
    from dvc.lock import LockError, make_lock

    folder = layout.workspace / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    lock = make_lock(str(folder / "lock"), tmp_dir=str(folder))
    try:
        lock.lock()
    except LockError as error:
        raise MedscreenError(f"{layout.lock}: DVC is running and may be writing it; wait until it ends.") from error
    try:
        yield
    finally:
        lock.unlock()


def _read(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _write(path: Path, content: bytes) -> None:
    with replaced(path) as partial:
        partial.write_bytes(content)
