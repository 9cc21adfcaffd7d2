"""Errors of image files."""

from medscreen.errors import MedscreenError

MOST_PIXELS = 80_000_000
"""Maximum number of pixels that are decoded; a film of 43 x 43 cm at 0.05 mm has 74 million."""
SET_WINDOW = "before training, set datasets.<name>.display.window in params.yaml to"
"""Advice for a window that does not fit the values; a trained detector keeps its window."""


class UnreadableImageError(MedscreenError):
    """The file holds no image that can be displayed; the message is the reason, without the file name.

    Messages name elements of a header, but never quote their values, which may be a patient's name.
    """


def require_size(width: int, height: int, most: int = MOST_PIXELS) -> None:
    """Raises UnreadableImageError for a size in a header that is below 1 or has more than `most` pixels."""
    if width < 1 or height < 1:
        raise UnreadableImageError(f"its header states {width} x {height} pixels")
    if width * height > most:
        raise UnreadableImageError(
            f"its header states {width} x {height} pixels, a decompression bomb: at most {most:,} are decoded"
        )
