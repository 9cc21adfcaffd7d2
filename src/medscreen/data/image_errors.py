"""Errors of image files."""

from medscreen.errors import MedscreenError

MOST_PIXELS = 80_000_000
"""No image is decoded that has more: a film of 43 x 43 cm at 0.05 mm has 74 million."""
SET_WINDOW = "before training, set datasets.<name>.display.window in params.yaml to"
"""The way out where a window does not fit; a detector that is trained keeps its window."""


class UnreadableImageError(MedscreenError):
    """The file holds no image that can be shown; the message is the reason, without the file's name.

    Reasons name elements of a header, never what stands in them: that may be a patient's name.
    """


def require_size(width: int, height: int, most: int = MOST_PIXELS) -> None:
    """Raises UnreadableImageError for a size that a header promises and nobody should allocate."""
    if width < 1 or height < 1:
        raise UnreadableImageError(f"its header says that it has {width} x {height} pixels")
    if width * height > most:
        raise UnreadableImageError(
            f"its header promises {width} x {height} pixels, a decompression bomb: at most {most:,} are decoded"
        )
