"""Screening of image files by a packaged detector, one result per image; used by `predict` and the service."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from medscreen.data.display import Grey, to_square
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import DisplayedImage, held_images, read_image
from medscreen.packaging.packaged_detector import PackagedDetector

MOST_OF_A_FILE = 1_000
"""Maximum number of images screened in a file."""
_BATCH = 64
OUTSIDE = "outside the training data"
"""Text in place of the decision for an image outside the domain."""


class ForProcessingError(UnreadableImageError):
    """Raised for raw values of an X-ray detector (FOR PROCESSING), which are not for display."""


@dataclass(frozen=True)
class ImageOfFile:
    """Image of a file: `frame` is its index in a file of several, from 0; `left_out`, the number not screened."""

    path: Path
    frame: int | None
    left_out: int


@dataclass(frozen=True)
class ScreenedImage:
    """Screening result of one image.

    `for_processing`: the file holds raw values of an X-ray detector. `header_mismatch`: difference of modality or body
    part from the training images. `called`: the decision as text, or `OUTSIDE` for an image outside the domain.
    """

    image: ImageOfFile
    score: float
    p_value: float
    probability: float
    abnormal: bool
    deferred: bool
    for_processing: bool
    in_domain: bool | None
    header_mismatch: str
    called: str


def images_of_file(path: Path) -> Iterator[ImageOfFile]:
    """Images of a file, at most the first thousand; an unreadable file has one, which fails when decoded."""
    number, others = held_images(path)
    read = min(number, MOST_OF_A_FILE)
    for frame in range(read):
        yield ImageOfFile(path, frame if number > 1 else None, number - read + others)


def decoded(
    image: ImageOfFile, detector: PackagedDetector, for_processing: bool = False
) -> tuple[ImageOfFile, DisplayedImage, Grey]:
    """Decodes an image: the image with `left_out` updated, the displayed image, and the detector's square input.

    Raises UnreadableImageError, and ForProcessingError for raw detector values unless `for_processing`.
    """
    displayed = read_image(image.path, detector.display, image.frame)
    if displayed.for_processing and not for_processing:
        raise ForProcessingError("raw detector values (FOR PROCESSING), not an image for presentation")
    if image.frame is None:  # only the first image of an animation is decoded
        image = replace(image, left_out=displayed.others)
    return image, displayed, to_square(displayed.grey, detector.image_size)


def screened(
    detector: PackagedDetector, images: Iterable[tuple[ImageOfFile, DisplayedImage, Grey]]
) -> Iterator[ScreenedImage]:
    """Screens decoded images in batches and yields their results."""
    remaining = iter(images)
    # keep only the squares: displayed images may be large
    while batch := [(image, replace(displayed, grey=square)) for image, displayed, square in islice(remaining, _BATCH)]:
        output = detector.screen(np.stack([about.grey for _, about in batch]))
        for i, (image, about) in enumerate(batch):
            abnormal, deferred = bool(output.abnormal[i]), bool(output.deferred[i])
            in_domain = None if output.in_domain is None else bool(output.in_domain[i])
            decision = ("abnormal" if abnormal else "normal") + (", refer" if deferred else "")
            yield ScreenedImage(
                image=image,
                score=output.score[i].item(),
                p_value=output.p_value[i].item(),
                probability=output.probability[i].item(),
                abnormal=abnormal,
                deferred=deferred,
                for_processing=about.for_processing,
                in_domain=in_domain,
                header_mismatch=detector.header_mismatch(about.described),
                called=OUTSIDE if in_domain is False else decision,
            )
