"""Contexts that silence libraries' warnings, logs and stderr while images are read, for all threads of the process."""

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

_STDERR = 2
_Context = Callable[[], AbstractContextManager[None]]


def _shared(make: _Context) -> _Context:
    """A context that the first thread enters and the last one leaves; each may enter it repeatedly.

    If each thread restored the state that it found, one could restore the silence of another permanently.
    """
    lock, entered, users = threading.Lock(), ExitStack(), 0

    @contextmanager
    def context() -> Iterator[None]:
        nonlocal users
        with lock:
            if not users:
                entered.enter_context(make())
            users += 1
        try:
            yield
        finally:
            with lock:
                users -= 1
                if not users:
                    entered.close()

    return context


@_shared
@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards the process's stderr, to which C libraries write messages that can't be switched off."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # the process has no stderr
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


@_shared
@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignores Python's warnings, which would be errors under PYTHONWARNINGS=error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_shared
@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Switches off pydicom's log and validation, which print header values that may identify a patient."""
    from pydicom import config

    logger = logging.getLogger("pydicom")
    was = logger.disabled
    try:
        logger.disabled = True
        with quiet_warnings(), config.disable_value_validation():
            yield
    finally:
        logger.disabled = was
