"""The one way from a file to display grey, shared by curation, prediction and service.

DICOM: stored values -> modality LUT or rescale -> window -> inversion for MONOCHROME1 -> 8-bit grey. Other pictures:
their luminance, more than 8 bits stretched between their percentiles.
"""

from medscreen.ingestion.frames import Frame, read_frame
from medscreen.ingestion.grey import Grey, to_square
from medscreen.ingestion.pictures import is_picture
from medscreen.ingestion.refusal import UnreadableImageError
from medscreen.ingestion.series import SeriesHeader, read_series_header
from medscreen.ingestion.shown import BURNED_IN, Shown, held_images, is_image, read_grey, read_image
from medscreen.ingestion.stacks import positions

__all__ = [
    "BURNED_IN",
    "Frame",
    "Grey",
    "SeriesHeader",
    "Shown",
    "UnreadableImageError",
    "held_images",
    "is_image",
    "is_picture",
    "positions",
    "read_frame",
    "read_grey",
    "read_image",
    "read_series_header",
    "to_square",
]
