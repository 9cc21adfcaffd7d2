"""dvc.lock after a kill: DVC rewrites it in place, and half of one stops every later `dvc repro`."""

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
    """Keeps a copy of dvc.lock, for a stage that DVC has just begun: DVC has read it, and does not write it now."""
    if os.environ.get("DVC_STAGE") and layout.workspace == layout.home:
        content = _read(layout.lock)
        if content and content != _read(layout.kept_lock):
            _write(layout.kept_lock, content)


def mend_lock(layout: Layout) -> str:
    """Puts the last whole dvc.lock in the place of one that was cut short; returns what was done, "" for a whole one.

    The last whole one is the copy that a stage or an earlier call has kept, else git's; without either dvc.lock is
    moved away, and DVC makes it anew. A lock with the marks of a merge is left to people. Raises MedscreenError while
    DVC runs, and for a folder in its place.
    """
    if layout.lock.is_dir():
        raise MedscreenError(f"{layout.lock} is a folder. Move it away; git or `dvc repro` brings the file back.")
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
            return ""  # a dvc that has ended meanwhile was writing it
        broken = _set_aside(layout.kept_lock.with_name("dvc.lock.broken"), content)
        copies = [("its last copy", _read(layout.kept_lock)), *(("git", of) for of in _versions(layout, "HEAD", 1))]
        for source, whole in copies:
            if whole and _is_whole(whole):
                _write(layout.lock.resolve(), whole)  # it may be a link
                return f"dvc.lock was cut short; {source} is in its place, and what it held is kept as {broken}."
        layout.lock.resolve().unlink()
    return f"dvc.lock was cut short, and there is no whole copy; `dvc repro` makes it anew. It is kept as {broken}."


def _set_aside(broken: Path, content: bytes) -> Path:
    """Keeps a broken lock beside those that are kept already."""
    for number in count(1):
        path = broken if number == 1 else broken.with_name(f"{broken.name}.{number}")
        if (kept := _read(path)) is None:
            _write(path, content)
        if kept in {None, content}:
            break
    return path


def _is_whole(content: bytes) -> bool:
    """True if DVC can load a lock; its loader refuses duplicate keys."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
    from dvc.utils.strictyaml import YAMLValidationError, validate

    # a value at the very end may be cut, too, but for a digest of its full length
    if b"\0" in content or not re.search(rb"\n\Z|: [0-9a-f]{32}(\.dir)?\Z", content):
        return False
    try:
        validate(parse_yaml(content.decode(), "dvc.lock"), COMPILED_LOCKFILE_SCHEMA)
    except (YAMLFileCorruptedError, YAMLValidationError, ValueError, RecursionError):
        return False
    return True


def _is_sound(layout: Layout, content: bytes) -> bool:
    """True if a lock is whole, not the kept one cut between two lines; one that a commit has is whole."""
    kept = _read(layout.kept_lock) or b""
    is_cut = content != kept and kept.startswith(content)
    return _is_whole(content) and not (is_cut and content not in _versions(layout, "--all", _COMMITS))


def _versions(layout: Layout, revision: str, most: int) -> list[bytes]:
    """dvc.lock as the last commits left it that changed it, the latest first."""
    from git import Repo
    from git.exc import GitError

    found: list[bytes] = []
    with suppress(GitError, ValueError, OSError):
        repository = Repo(layout.workspace, search_parent_directories=True)
        path = layout.lock.resolve().relative_to(Path(str(repository.working_tree_dir)).resolve()).as_posix()
        for commit in repository.iter_commits(revision, paths=path, max_count=most):
            with suppress(KeyError):  # this one removed it
                found.append((commit.tree / path).data_stream.read())
    return found


@contextmanager
def _without_dvc(layout: Layout) -> Iterator[None]:
    """Holds DVC's own lock on the checkout, which whoever writes dvc.lock has."""
    from dvc.lock import LockError, make_lock

    folder = layout.workspace / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    lock = make_lock(str(folder / "lock"), tmp_dir=str(folder))
    try:
        lock.lock()
    except LockError as error:
        raise MedscreenError(f"{layout.lock} is being written by a dvc that runs; wait until it ends.") from error
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
