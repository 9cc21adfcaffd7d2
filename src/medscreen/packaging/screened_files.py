"""Image files screened by a packaged detector, each image a result: what `predict` and the service share."""

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
"""Images of one file that are screened."""
_BATCH = 64
OUTSIDE = "outside the training data"
"""The decision in words for an image outside the domain."""


class ForProcessingError(UnreadableImageError):
    """The file holds raw values of an X-ray detector, not the image that a reader sees."""


@dataclass(frozen=True)
class ImageOfFile:
    """One image: `frame` is its number in a file that holds several, from 0; `left_out` are those not looked at."""

    path: Path
    frame: int | None
    left_out: int


@dataclass(frozen=True)
class ScreenedImage:
    """The result for one image.

    `for_processing`: the file holds raw values of an X-ray
    detector, which no reader sees. `header_mismatch`: how modality or body part differ from the training images'.
    `called` is the decision in words, of which there is none outside the domain.
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
    """The images of a file, the first thousand of many; a file that can't be read has one, which then fails."""
    number, others = held_images(path)
    read = min(number, MOST_OF_A_FILE)
    for frame in range(read):
        yield ImageOfFile(path, frame if number > 1 else None, number - read + others)


def decoded(
    image: ImageOfFile, detector: PackagedDetector, for_processing: bool = False
) -> tuple[ImageOfFile, DisplayedImage, Grey]:
    """An image with what decoding tells of its file, the same as displayed, and the square that the detector screens.

    Raises UnreadableImageError, and ForProcessingError for raw detector values unless `for_processing`.
    """
    displayed = read_image(image.path, detector.display, image.frame)
    if displayed.for_processing and not for_processing:
        raise ForProcessingError("raw detector values (FOR PROCESSING), not the image that a reader sees")
    if image.frame is None:  # of an animation the first image alone is shown
        image = replace(image, left_out=displayed.others)
    return image, displayed, to_square(displayed.grey, detector.image_size)


def screened(
    detector: PackagedDetector, images: Iterable[tuple[ImageOfFile, DisplayedImage, Grey]]
) -> Iterator[ScreenedImage]:
    """The results of decoded images, screened a batch at a time."""
    remaining = iter(images)
    # without the displayed images: they may be large and many
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
