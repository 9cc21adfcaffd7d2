"""STOW-RS: screens DICOM instances and stores each with its DICOM answers in an archive."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from medscreen.data.display import Grey
from medscreen.data.load_image import DisplayedImage
from medscreen.packaging.screened_files import ImageOfFile, ScreenedImage, screened
from medscreen.registry.dicom_answers import dicom_answers
from medscreen.registry.loaded_version import LoadedVersion
from medscreen.reporting.dicom_answers.instance import encoded
from medscreen.reporting.dicom_answers.source import NoAnswerError, Source, read_source
from medscreen.serving.answers import UnreadableImage
from medscreen.serving.archive import Archive
from medscreen.serving.screening import path_to, readable_images

_CANNOT_UNDERSTAND = 0xC000
_COMMENT = 64  # characters of an element LO


@dataclass(frozen=True)
class StoredInstance:
    """An instance of a request; `failure`: reason of PS3.18 I.2, None if it was stored with its answers."""

    source: Source | None
    failure: int | None = None
    comment: str = ""
    images: Sequence[ScreenedImage] = ()
    unreadable: Sequence[UnreadableImage] = ()


def store_instance(version: LoadedVersion, archive: Archive, content: bytes, deadline: float) -> StoredInstance:
    """Screens an instance and stores it with its answers.

    An instance whose image can't be screened is not stored. Instances without pixels and answers of medscreen are
    stored unchanged. Raises TimeoutError after `deadline` (monotonic), before anything is stored, and ArchiveError if
    the archive can't be used.
    """
    unreadable: list[UnreadableImage] = []
    squares: list[Grey] = []
    with path_to(content) as path:
        try:
            source = read_source(path)
        except NoAnswerError as error:
            return StoredInstance(None, _CANNOT_UNDERSTAND, str(error))
        if source.is_answer or not source.has_image:
            return _stored(archive, source, [(source.instance, content)], (), ())

        def images() -> Iterator[tuple[ImageOfFile, DisplayedImage, Grey]]:
            for image in readable_images(version, path, False, deadline, unreadable):
                squares.append(image[2])
                yield image

        found = list(screened(version.detector, images()))
    if not found:
        return StoredInstance(source, _CANNOT_UNDERSTAND, unreadable[0].detail, (), unreadable)

    instances = [(source.instance, content)]
    for answer in dicom_answers(version, source, list(zip(found, squares, strict=True))):
        if time.monotonic() > deadline:
            raise TimeoutError
        instances.append((answer.SOPInstanceUID, encoded(answer)))
    return _stored(archive, source, instances, found, unreadable)


def _stored(
    archive: Archive,
    source: Source,
    instances: Iterable[tuple[str, bytes]],
    images: Sequence[ScreenedImage],
    unreadable: Sequence[UnreadableImage],
) -> StoredInstance:
    failed = archive.store(instances)
    if not failed:
        return StoredInstance(source, None, "", images, unreadable)
    comment = f"the archive refuses {'the instance' if source.instance in failed else 'its report or capture'}"
    return StoredInstance(source, next(iter(failed.values())), comment, images, unreadable)


def store_response(instances: Sequence[StoredInstance]) -> tuple[HTTPStatus, dict[str, Any]]:
    """Status and body of the STOW-RS response (PS3.18, 10.5.3)."""
    named = [(of, _named(of.source)) for of in instances if of.source is not None]
    stored = [names | {"00081190": {"vr": "UR"}} for of, names in named if of.failure is None]
    failed = [names | _reason(of) for of, names in named if of.failure is not None]
    others = [_reason(of) for of in instances if of.source is None]
    status = HTTPStatus.OK if not failed + others else HTTPStatus.ACCEPTED if stored else HTTPStatus.CONFLICT
    sequences = {"00081199": stored, "00081198": failed, "0008119A": others}
    return status, {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}


def _named(source: Source) -> dict[str, Any]:
    names = {"00081150": source.sop_class, "00081155": source.instance}
    return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in names.items()}


def _reason(of: StoredInstance) -> dict[str, Any]:
    comment = {"00000902": {"vr": "LO", "Value": [of.comment[:_COMMENT]]}}
    return {"00081197": {"vr": "US", "Value": [of.failure]}} | comment
