"""Screening of many files on all cores: a row an image, in the order of the files, unreadable ones included."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import Shown
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
    "p_value": "float64", "probability": "float64", "abnormal": "bool", "refer": "bool", "left_out": "int64",
    "for_processing": "bool", "in_domain": "bool", "header_mismatch": "string", "called": "string",
}  # fmt: skip
"""Columns of a row with their Arrow types; those from `score` on are null where `status` is not `screened`."""
SCREENED, UNREADABLE, REFUSED = "screened", "unreadable", "refused"
FILES_AT_ONCE = 32
"""Files that a worker takes at a time: enough to amortize a task, few enough to be screened again after a kill."""
_TASKS = 16  # whose rows may wait in memory


def screen_files(files: Sequence[Path], graph: Path, for_processing: bool) -> Iterator[list[Row]]:
    """Rows of FILES_AT_ONCE files at a time; images marked FOR PROCESSING are refused unless `for_processing`."""
    chunks = [files[start : start + FILES_AT_ONCE] for start in range(0, len(files), FILES_AT_ONCE)]
    workers = min(available_cpus(), len(chunks))
    if workers <= 1:
        yield from (_rows_of(chunk, graph, for_processing) for chunk in chunks)
        return
    with worker_pool(workers) as pool:
        for start in range(0, len(chunks), _TASKS):
            taken = chunks[start : start + _TASKS]
            yield from pool.map(_rows_of, taken, [graph] * len(taken), [for_processing] * len(taken))


def _rows_of(files: Sequence[Path], graph: Path, for_processing: bool) -> list[Row]:
    detector = _detector(graph)
    rows: dict[ImageOfFile, Row] = {}

    def readable() -> Iterator[tuple[ImageOfFile, Shown, Grey]]:
        for image in (image for file in files for image in images_of_file(file)):
            rows[image] = {}
            try:
                yield image, *decoded(image, detector, for_processing)
            except UnreadableImageError as error:
                status = REFUSED if isinstance(error, ForProcessingError) else UNREADABLE
                rows[image] = _row(image, status, str(error))

    for found in screened(detector, readable()):
        rows[found.image] = _row(found.image, SCREENED, "", found)
    return list(rows.values())


def _row(image: ImageOfFile, status: str, reason: str, found: ScreenedImage | None = None) -> Row:
    about = {"file": written_name(image.path), "frame": image.frame, "status": status, "reason": reason}
    outputs = {column: getattr(found, column, None) for column in COLUMNS if column not in about}
    return about | outputs | ({} if found else {"left_out": image.left_out})


@cache
def _detector(graph: Path) -> PackagedDetector:
    """One session a process, whose images are screened on one thread: the processes share the cores."""
    return PackagedDetector(graph)
