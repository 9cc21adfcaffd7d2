"""Screening of uploaded files with a loaded version."""

import os
import sys
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np

from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import DisplayedImage
from medscreen.packaging.screened_files import ImageOfFile, ScreenedImage, decoded, images_of_file, screened
from medscreen.registry.loaded_version import LoadedVersion
from medscreen.reporting.case_report import png
from medscreen.reporting.evaluation_report.canvas import DRAWING
from medscreen.reporting.evaluation_report.explanation_figures import map_picture
from medscreen.reporting.evaluation_report.operating_figure import score_edges
from medscreen.serving.answers import FileResult, ImageResult, ScoreHistogram, ServedModel, SimilarCase, UnreadableImage


@dataclass(frozen=True)
class Wanted:
    """Requested content besides the decision; `similar`: number of training images per class.

    `for_processing`: also screen raw values of an X-ray detector.
    """

    map: bool = False
    similar: int = 0
    thumbnail: bool = False
    for_processing: bool = False


def served_model(version: LoadedVersion) -> ServedModel:
    """Description of the version for responses."""
    of = version.record.version
    return ServedModel(name=of.model, version=of.number, stage=of.stage, detector=of.detector, digest=of.digest)


def score_histogram(version: LoadedVersion) -> ScoreHistogram | None:
    """Histogram of the scores of healthy and abnormal validation images, in the bins of the version's reports."""
    val = None if version.no_scores else version.val
    if val is None:
        return None
    edges = score_edges(val.scores, version.detector.metadata["operating_point"])
    displayed = val.scores.clip(edges[0], edges[-1])
    healthy, abnormal = (np.histogram(displayed[val.labels == label], edges)[0].tolist() for label in (0, 1))
    return ScoreHistogram(edges=edges.tolist(), healthy=healthy, abnormal=abnormal)


def preload(version: LoadedVersion) -> None:
    """Loads everything that requests need of the version, so that they never read the registry."""
    _ = version.explained, version.reported, version.healthy_scores, version.no_cases or version.embedder


def screen_files(
    version: LoadedVersion, files: Sequence[tuple[int, bytes]], wanted: Wanted, deadline: float
) -> list[FileResult]:
    """Screens uploads, given as (position, content); raises TimeoutError after `deadline` (monotonic)."""
    results = [FileResult(file=number, images=[], unreadable=[], left_out=0) for number, _ in files]
    kept: list[tuple[FileResult, Grey, str | None]] = []

    def images() -> Iterator[tuple[ImageOfFile, DisplayedImage, Grey]]:
        for result, (_, content) in zip(results, files, strict=True):
            with path_to(content) as path:
                unreadable = result.unreadable
                for found, displayed, square in readable_images(
                    version, path, wanted.for_processing, deadline, unreadable
                ):
                    kept.append((result, square, _base64(png(displayed.grey)) if wanted.thumbnail else None))
                    yield found, displayed, square

    rows = list(screened(version.detector, images()))
    for row, (result, square, thumbnail) in zip(rows, kept, strict=True):
        if time.monotonic() > deadline:
            raise TimeoutError
        result.images.append(_result(version, row, square, wanted))
        result.images[-1].thumbnail = thumbnail
        result.left_out = row.image.left_out
    return results


def readable_images(
    version: LoadedVersion, path: Path, for_processing: bool, deadline: float, unreadable: list[UnreadableImage]
) -> Iterator[tuple[ImageOfFile, DisplayedImage, Grey]]:
    """Yields the decoded images of a file and adds the others to `unreadable`; raises TimeoutError after `deadline`."""
    for image in images_of_file(path):
        if time.monotonic() > deadline:
            raise TimeoutError
        try:
            yield decoded(image, version.detector, for_processing)
        except UnreadableImageError as error:
            unreadable.append(UnreadableImage(frame=image.frame, detail=str(error)))


def _result(version: LoadedVersion, row: ScreenedImage, square: Grey, wanted: Wanted) -> ImageResult:
    healthy, outside = version.healthy_scores, row.in_domain is False
    result = ImageResult(
        frame=row.image.frame,
        score=row.score,
        percentile=100 * int(np.searchsorted(healthy, row.score)) / len(healthy) if len(healthy) else None,
        p_value=row.p_value,
        probability=None if outside else row.probability,
        abnormal=None if outside else row.abnormal,
        deferred=None if outside else row.deferred,
        in_domain=row.in_domain,
        decision=row.called,
        for_processing=row.for_processing,
        header_mismatch=bool(row.header_mismatch),
    )
    if wanted.map:
        found, reason = version.explained.map_of(square)
        result.map_note = reason or version.explained.reason
        if found is not None:
            with DRAWING:
                result.map = _base64(map_picture(square, found, version.explained.unit))
    if wanted.similar:
        result.similar_note = version.no_cases
        result.similar = (
            None
            if version.no_cases
            else [
                SimilarCase(name=case.name, label="abnormal" if case.label else "normal", distance=case.distance)
                for case in version.similar_to(square, wanted.similar)
            ]
        )
    return result


def _base64(picture: bytes) -> str:
    return b64encode(picture).decode()


@contextmanager
def path_to(content: bytes) -> Iterator[Path]:
    """Yields a path to an upload: in memory on Linux, a temporary file on other systems."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("upload"), "wb") as file:
            file.write(content)
            file.flush()
            yield Path(f"/proc/self/fd/{file.fileno()}")
    else:
        with NamedTemporaryFile() as named:
            named.write(content)
            named.flush()
            yield Path(named.name)
