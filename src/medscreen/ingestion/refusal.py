"""Why a file can't be shown."""

from medscreen.errors import MedscreenError

MOST_PIXELS = 80_000_000
"""No image is decoded that has more: a film of 43 x 43 cm at 0.05 mm has 74 million."""


class UnreadableImageError(MedscreenError):
    """The file holds no image that can be shown; the message is the reason, without the file's name.

    Reasons name elements of a header, never what stands in them: that may be a patient's name.
    """


def require_size(width: int, height: int) -> None:
    """Raises UnreadableImageError for a size that a header promises and nobody should allocate."""
    if width < 1 or height < 1:
        raise UnreadableImageError(f"its header says that it has {width} x {height} pixels")
    if width * height > MOST_PIXELS:
        raise UnreadableImageError(
            f"its header promises {width} x {height} pixels, a decompression bomb: at most {MOST_PIXELS:,} are decoded"
        )
