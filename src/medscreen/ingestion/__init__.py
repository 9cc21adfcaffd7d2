"""The one way from a file to display grey, shared by curation, prediction and service.

DICOM: stored values -> modality LUT or rescale -> window -> inversion for MONOCHROME1 -> 8-bit grey. Other pictures:
their luminance, more than 8 bits stretched between their percentiles.
"""

from medscreen.ingestion.frames import Frame, read_frame
from medscreen.ingestion.grey import Grey, to_square
from medscreen.ingestion.refusal import UnreadableImageError
from medscreen.ingestion.shown import BURNED_IN, Shown, read_grey, read_image

__all__ = [
    "BURNED_IN",
    "Frame",
    "Grey",
    "Shown",
    "UnreadableImageError",
    "read_frame",
    "read_grey",
    "read_image",
    "to_square",
]
