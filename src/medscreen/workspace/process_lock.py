"""Lock between processes of a checkout."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def process_lock(path: Path, busy: Exception | None) -> Iterator[None]:
    """Context with the lock file `path`; if another process holds it, raises `busy`, or waits if that is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if busy is None else 0)
    except Timeout as error:
        raise busy or error from error
    try:
        yield
    finally:
        lock.release()
