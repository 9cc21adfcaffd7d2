"""Photometric interpretation: supported ones, and the inversion of MONOCHROME1 (PS3.3 C.7.6.3.1.2)."""

from medscreen.data.dicom.headers import Header
from medscreen.data.display import Grey
from medscreen.data.image_errors import UnreadableImageError

_SUPPORTED = {  # samples of a pixel -> interpretations
    1: ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"),
    3: ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"),
}


def require_photometric(header: Header, samples: int) -> None:
    """Raises UnreadableImageError for an interpretation that is missing, or unsupported for this number of samples."""
    stated = header.code("PhotometricInterpretation")
    if samples not in _SUPPORTED:
        raise UnreadableImageError("its SamplesPerPixel is unsupported; supported: 1, 3")
    if not stated:
        raise UnreadableImageError(
            "its PhotometricInterpretation, which states whether 0 is black or white, is missing: set it, for instance "
            "with dcmodify"
        )
    if stated not in _SUPPORTED[samples]:
        raise UnreadableImageError(
            f"its PhotometricInterpretation is unsupported for SamplesPerPixel {samples}; "
            f"supported: {', '.join(_SUPPORTED[samples])}"
        )


def require_consistent_shape(header: Header) -> None:
    """Raises UnreadableImageError for MONOCHROME2 with PresentationLUTShape INVERSE: viewers vary (PS3.3 C.8.11.1)."""
    if not _is_monochrome1(header) and header.code("PresentationLUTShape") == "INVERSE":
        raise UnreadableImageError(
            "its PhotometricInterpretation MONOCHROME2 and its PresentationLUTShape INVERSE contradict each other: "
            "correct the wrong one, for instance with dcmodify"
        )


def invert_monochrome1(grey: Grey, header: Header) -> Grey:
    """Gray (H, W) as displayed: MONOCHROME1 displays the smallest value white, after the window or VOI LUT."""
    return 255 - grey if _is_monochrome1(header) else grey


def _is_monochrome1(header: Header) -> bool:
    return header.code("PhotometricInterpretation") == "MONOCHROME1"
