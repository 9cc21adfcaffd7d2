"""Display grey: what every detector sees."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medscreen.data.image_errors import UnreadableImageError

Grey = NDArray[np.uint8]
"""One image as displayed: (height, width), 0 black to 255 white."""


def require_picture(grey: Grey) -> None:
    """Raises UnreadableImageError where nothing is to be seen."""
    if grey.min() == grey.max():
        raise UnreadableImageError(f"every pixel has the same grey value ({grey.min()})")
    if grey.max() <= 1:
        raise UnreadableImageError("no grey level is above 1: values in 0 to 1 were saved as integers")


def luminance(colours: NDArray[np.generic], white: float) -> Grey:
    """Grey (H, W) of colours (H, W, 3), red, green and blue from 0 to `white`."""
    eight_bit = np.round(colours.astype(np.float64) * (255 / white)).clip(0, 255).astype(np.uint8)
    return np.asarray(Image.fromarray(eight_bit).convert("L"))


def to_square(grey: Grey, size: int) -> Grey:
    """The central square of an image at `size` x `size` pixels, as MedMNIST prepares its images.

    The filter is the one inside the packaged graph. An image that has that size already comes back unchanged.
    Raises UnreadableImageError if nothing is to be seen in it.
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
