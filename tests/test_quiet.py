"""Images read by several threads at once leave the process's stderr, warnings and loggers as they were."""

import logging
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from pydicom import config

from factories import dicom, written
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.library_logging import quiet_pydicom, quiet_stderr
from medscreen.data.load_image import read_image
from tiff_files import Form, tiff

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def state() -> tuple[object, ...]:
    return (
        os.fstat(2).st_ino, list(warnings.filters), logging.getLogger("pydicom").disabled,
        config.settings.reading_validation_mode,
    )  # fmt: skip


def test_a_thread_that_ends_first_neither_ends_the_silence_of_another_nor_leaves_it_for_good() -> None:
    before, entered, left = state(), threading.Event(), threading.Event()

    def longer() -> None:
        with quiet_stderr(), quiet_pydicom():
            entered.set()
            assert left.wait(10)
            assert state()[0] == Path(os.devnull).stat().st_ino

    with ThreadPoolExecutor() as pool:
        with quiet_stderr(), quiet_pydicom():
            other = pool.submit(longer)
            assert entered.wait(10)
        left.set()
        other.result()
    assert state() == before


def test_reading_in_threads_changes_nothing_of_the_process(tmp_path: Path) -> None:
    paths = [
        dicom(tmp_path / "a.dcm", RAMP),
        written(tmp_path / "a.tif", tiff([(RAMP[..., None], Form(compression="lzw"))])),
    ]
    before = state()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: read_image(path, FILE_DISPLAY), paths * 100))
    assert state() == before
