"""Healthy images, the training data of one-class detectors."""

from medscreen.data.images import ImageSet
from medscreen.errors import MedscreenError


def healthy_of(images: ImageSet, split: str, least: int) -> ImageSet:
    """Images of a split with the label normal; raises MedscreenError if there are fewer than `least`."""
    healthy = images.healthy()
    if len(healthy) < least:
        raise MedscreenError(
            f"{split}: {len(healthy)} healthy images; a one-class detector needs at least {least}. Correct the labels "
            "or the settings for normal labels, or add images."
        )
    return healthy
