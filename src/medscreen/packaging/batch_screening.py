"""Batch screening of files on all cores: one row per image in the order of the files, including unreadable files."""

from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import DisplayedImage
from medscreen.data.sources.file_trees import written_name
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.packaging.screened_files import (
    ForProcessingError,
    ImageOfFile,
    ScreenedImage,
    decoded,
    images_of_file,
    screened,
)
from medscreen.runtime.child_processes import available_cpus, worker_pool

Row = dict[str, Any]
COLUMNS = {
    "file": "string", "frame": "int64", "status": "string", "reason": "string", "score": "float64",
    "p_value": "float64", "probability": "float64", "abnormal": "bool", "deferred": "bool", "left_out": "int64",
    "for_processing": "bool", "in_domain": "bool", "header_mismatch": "string", "called": "string",
}  # fmt: skip
"""Columns of a row with their Arrow types; outputs are null where `status` is not `screened`."""
SCREENED, UNREADABLE, REFUSED = "screened", "unreadable", "refused"
FILES_AT_ONCE = 32
"""Files in a task of a worker: enough to amortize its overhead, few enough to repeat after a crash."""
_TASKS = 16  # submitted at once, which bounds the rows in memory


def screen_files(files: Sequence[Path], graph: Path, for_processing: bool) -> Iterator[list[list[Row]]]:
    """Screens files; yields the rows of each file, FILES_AT_ONCE files at a time.

    Images marked FOR PROCESSING are refused unless `for_processing`. A file that crashes the worker process is reported
    in a row as well.
    """
    chunks = [files[start : start + FILES_AT_ONCE] for start in range(0, len(files), FILES_AT_ONCE)]
    workers = min(available_cpus(), len(chunks))
    if workers <= 1:
        yield from (_rows_of(chunk, graph, for_processing) for chunk in chunks)
        return
    done = 0
    while done < len(chunks):
        with suppress(BrokenProcessPool), worker_pool(workers) as pool:
            # a few tasks at a time: rows of finished tasks stay in memory until they are yielded
            for start in range(done, len(chunks), _TASKS):
                taken = chunks[start : start + _TASKS]
                for rows in pool.map(_rows_of, taken, [graph] * len(taken), [for_processing] * len(taken)):
                    done += 1
                    yield rows
        for chunk in chunks[done : done + workers]:  # after a crash: its file may be in one of these chunks
            done += 1
            yield _rows_in_isolation(chunk, graph, for_processing)


def _rows_in_isolation(files: Sequence[Path], graph: Path, for_processing: bool) -> list[list[Row]]:
    """Screens files in a separate process; if it crashes, each file in a separate process."""
    try:
        with worker_pool(1) as pool:
            return pool.submit(_rows_of, files, graph, for_processing).result()
    except BrokenProcessPool:
        if len(files) == 1:
            return [[_row(ImageOfFile(files[0], None, 0), UNREADABLE, "the decoder crashed")]]
        return [rows for file in files for rows in _rows_in_isolation([file], graph, for_processing)]


def _rows_of(files: Sequence[Path], graph: Path, for_processing: bool) -> list[list[Row]]:
    detector = _detector(graph)
    rows: dict[tuple[Path, int | None], Row] = {}

    def readable() -> Iterator[tuple[ImageOfFile, DisplayedImage, Grey]]:
        for image in (image for file in files for image in images_of_file(file)):
            rows[image.path, image.frame] = {}
            try:
                yield decoded(image, detector, for_processing)
            except UnreadableImageError as error:
                status = REFUSED if isinstance(error, ForProcessingError) else UNREADABLE
                rows[image.path, image.frame] = _row(image, status, str(error))

    for found in screened(detector, readable()):
        rows[found.image.path, found.image.frame] = _row(found.image, SCREENED, "", found)
    return [[row for (path, _), row in rows.items() if path == file] for file in files]


def _row(image: ImageOfFile, status: str, reason: str, found: ScreenedImage | None = None) -> Row:
    about = {"file": written_name(image.path), "frame": image.frame, "status": status, "reason": reason}
    outputs = {column: getattr(found, column, None) for column in COLUMNS if column not in about}
    return about | outputs | {"left_out": image.left_out}


@cache
def _detector(graph: Path) -> PackagedDetector:
    """Session of a worker process, with one thread: the processes share the cores."""
    return PackagedDetector(graph)
