"""Display gray of a TIFF page in a sample format that Pillow does not read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.data.deep_colors import lit_luminance
from medscreen.data.display import Grey
from medscreen.data.percentile_stretch import stretched
from medscreen.data.tiff.pages import Page
from medscreen.data.tiff.sample_layout import ALPHA, RGB, SIGNED, Layout, unread
from medscreen.data.tiff.samples import read_samples


def tiff_grey(page: Page, layout: Layout) -> Grey:
    """The luminance (H, W) of a page as stored, before its orientation is applied.

    Integers of at most 8 bits are displayed unstretched, the minimum of the format black and the maximum white; all
    others are stretched between percentiles. Transparent pixels are composited on black.

    Raises UnreadableImageError for unsupported sample formats, which it names, and for damaged data.
    """
    white_is_zero = layout.photometric == 0
    if layout.photometric > RGB or (white_is_zero and layout.alpha == ALPHA):
        raise unread(layout)
    samples = read_samples(page, layout)
    if max(layout.bits) > 8:
        grey = stretched(_luminance(samples, layout))
    else:
        if layout.formats[0] == SIGNED:
            samples = samples.view(np.uint8) ^ np.uint8(0x80)
        white = 2 ** layout.bits[0] - 1
        eight_bit = samples if white == 255 else np.round(samples * (255 / white)).astype(np.uint8)
        grey = lit_luminance(*_parts(eight_bit, layout), 255).astype(np.uint8)
    return 255 - grey if white_is_zero else grey


def _luminance(samples: NDArray[Any], layout: Layout) -> NDArray[Any]:
    if len(samples) == 1:
        one: NDArray[Any] = samples[0]
        return one
    limits = None if samples.dtype.kind == "f" else np.iinfo(samples.dtype)
    opaque = 1.0 if limits is None else 2.0 ** (layout.bits[0] - (samples.dtype.kind == "i")) - 1
    return lit_luminance(*_parts(samples, layout), opaque, 0.0 if limits is None else float(limits.min))


def _parts(samples: NDArray[Any], layout: Layout) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colors, and the alpha by which they have to be multiplied; None if there is none, or they already are."""
    return samples[: layout.colors], samples[layout.colors] if layout.alpha == ALPHA else None
