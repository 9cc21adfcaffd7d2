"""dvc.lock after a kill: DVC rewrites it in place, and half of one stops every later `dvc repro`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from medscreen.errors import MedscreenError
from medscreen.layout import Layout
from medscreen.outputs import replaced


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
    DVC runs.
    """
    content = _read(layout.lock)
    if content is None or content.startswith(b"<<<<<<< ") or b"\n<<<<<<< " in content:
        return ""
    if _is_whole(content) and not _is_cut_copy(layout, content):
        if content != _read(layout.kept_lock):
            _write(layout.kept_lock, content)
        return ""
    with _without_dvc(layout):
        content = _read(layout.lock)
        if content is None or (_is_whole(content) and not _is_cut_copy(layout, content)):
            return ""  # a dvc that has ended meanwhile was writing it
        broken = layout.kept_lock.with_name("dvc.lock.broken")
        _write(broken, content)
        for source, whole in (("its last copy", _read(layout.kept_lock)), ("git", _committed(layout))):
            if whole and _is_whole(whole):
                _write(layout.lock, whole)
                return f"dvc.lock was cut short; {source} is in its place, and what it held is kept as {broken}."
        layout.lock.unlink()
    return f"dvc.lock was cut short, and there is no whole copy; `dvc repro` makes it anew. It is kept as {broken}."


def _is_whole(content: bytes) -> bool:
    """Whether DVC can use a lock; the last line has to end, for the digest that it holds may be cut, too."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import YAMLValidationError, validate

    if not content.endswith(b"\n") or b"\0" in content:
        return False
    try:
        validate(yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), COMPILED_LOCKFILE_SCHEMA)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, YAMLValidationError):
        return False
    return True


def _is_cut_copy(layout: Layout, content: bytes) -> bool:
    """Whether a lock is the beginning of the kept one, cut between two lines; git may have brought it so."""
    kept = _read(layout.kept_lock) or b""
    return content != kept and kept.startswith(content) and content != _committed(layout)


def _committed(layout: Layout) -> bytes | None:
    """dvc.lock of git's last commit, None where there is none."""
    from git import Repo
    from git.exc import GitError

    with suppress(GitError, ValueError, KeyError, OSError):
        repository = Repo(layout.workspace, search_parent_directories=True)
        path = layout.lock.resolve().relative_to(Path(str(repository.working_tree_dir)).resolve())
        content: bytes = (repository.head.commit.tree / path.as_posix()).data_stream.read()
        return content
    return None


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
