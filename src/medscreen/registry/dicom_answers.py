"""DICOM results of a loaded version: Structured Report and Secondary Captures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydicom import Dataset

from medscreen.data.display import Grey
from medscreen.errors import MedscreenError
from medscreen.packaging.screened_files import ScreenedImage
from medscreen.registry.loaded_version import LoadedVersion

if TYPE_CHECKING:
    from medscreen.reporting.dicom_answers.source import Source


MOST_CAPTURES = 64
"""Maximum number of captures per file; each takes .25 s and 1.2 MB."""


def require_highdicom() -> None:
    """Raises MedscreenError unless highdicom, which writes Structured Reports, is installed."""
    if find_spec("highdicom") is None:
        raise MedscreenError("DICOM answers: highdicom is not installed. Run pip install 'medscreen[dicom-out]'.")


def dicom_answers(
    version: LoadedVersion, source: "Source", images: Sequence[tuple[ScreenedImage, Grey]]
) -> Iterator[Dataset]:
    """Structured Report on the images of a DICOM file, then a capture for each of the first MOST_CAPTURES with a map.

    `images`: results with the preprocessed squares that were scored. The report states why an image has no capture.
    """
    from medscreen.reporting.dicom_answers.secondary_capture import overlay, secondary_capture
    from medscreen.reporting.dicom_answers.structured_report import structured_report

    # ASCII: the source's character set may lack other letters
    model = version.reported.model.encode("ascii", "replace").decode()
    about, explained = replace(version.reported, model=model), version.explained
    drawn, notes = [], []
    for number, (image, square) in enumerate(images):
        is_drawn = number < MOST_CAPTURES
        found, reason = explained.map_of(square) if is_drawn else (None, f"only {MOST_CAPTURES} images get one")
        notes.append("" if found is not None else f"No map: {reason or explained.reason}.")
        if found is not None:
            drawn.append((image, square, found))
    yield structured_report(source, [(image, note) for (image, _), note in zip(images, notes, strict=True)], about)
    for image, square, found in drawn:
        picture = overlay(image, square, found, about, (explained.unit, explained.reason))
        yield secondary_capture(source, image, about, picture)
