"""The healthy images that one-class detectors learn from."""

from medscreen.data.images import ImageSet
from medscreen.errors import MedscreenError


def healthy_of(images: ImageSet, split: str, least: int) -> ImageSet:
    """The images of a split that are labelled normal; raises MedscreenError where there are fewer than `least`."""
    healthy = images.healthy()
    if len(healthy) < least:
        raise MedscreenError(
            f"There are {len(healthy)} healthy images in {split}, and a one-class detector needs {least} at least; "
            "correct the labels of the data set or which of them are normal, or add images."
        )
    return healthy
