"""Display gray, the input of every detector."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.data.image_errors import UnreadableImageError

Grey = NDArray[np.uint8]
"""One image as displayed: (height, width), 0 black to 255 white."""


def require_picture(grey: Grey) -> None:
    """Raises UnreadableImageError for an image of one gray value, or without a value above 1."""
    if grey.min() == grey.max():
        raise UnreadableImageError(f"every pixel has the same gray value ({grey.min()})")
    if grey.max() <= 1:
        raise UnreadableImageError("no gray value is above 1: values in 0 to 1 were saved as integers")


def luminance(colours: NDArray[np.generic], white: float) -> Grey:
    """Gray (H, W) of colors (H, W, 3): red, green and blue from 0 to `white`."""
    eight_bit = np.round(colours.astype(np.float64) * (255 / white)).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(eight_bit).convert("L"))


def to_square(grey: Grey, size: int) -> Grey:
    """The central square of an image at `size` x `size` pixels, as MedMNIST prepares its images.

    The filter is that of the packaged graph. An image that already has this size is returned unchanged. Raises
    UnreadableImageError as `require_picture` does.
    """
    height, width = grey.shape
    if (height, width) == (size, size):
        require_picture(grey)
        return grey
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(grey[top : top + side, left : left + side])
    result = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    require_picture(result)
    return result
