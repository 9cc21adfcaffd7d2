"""From values to grey: rescale, window, inversion (DICOM PS3.3 C.11.1, C.11.2 and C.7.6.3.1.2)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medscreen.ingestion.grey import Grey
from medscreen.ingestion.headers import Header
from medscreen.ingestion.levels import Levels, levels_of
from medscreen.ingestion.refusal import UnreadableImageError
from medscreen.ingestion.tables import sequence_table
from medscreen.params import DisplayParams, WindowParams

_PRESETS = {  # Hounsfield units: centre, width
    "soft_tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
_ALSO_HOUNSFIELD = {"", "HU", "US"}  # US: unspecified, as many archives write for CT


@dataclass(frozen=True)
class Window:
    """A window in values after rescale; `function` is one of DICOM's VOI LUT Functions."""

    center: float
    width: float
    function: str = "LINEAR"

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the values lie between black (0) and white (1), of the same shape; below 0 and above 1 outside.

        Raises UnreadableImageError for a width that the function has no meaning for.
        """
        least = 1.0 if self.function == "LINEAR" else 0.0
        if self.width < least or self.width == 0:
            raise UnreadableImageError(f"its Window Width is too small for the function {self.function}")
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)  # beyond lies black or white
            return 1 / (1 + np.exp(exponent))
        if self.function == "LINEAR_EXACT":
            return (values - self.center) / self.width + 0.5
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return (values - (self.center - 0.5)) / (self.width - 1) + 0.5


def displayed(stored: NDArray[np.generic], header: Header, display: DisplayParams) -> Grey:
    """Stored values (H, W) of one channel as grey (H, W).

    Raises UnreadableImageError where the header is not fit for it, or the window is not for such values.
    """
    levels = _modality_levels(stored, header)
    shares = _shares(levels, header, display)
    if shares is None:
        shares = levels.stretched(*levels.spread(_padding(stored, header)))
    grey = levels.shown(shares)
    return 255 - grey if header.code("PhotometricInterpretation") == "MONOCHROME1" else grey


def _modality_levels(stored: NDArray[np.generic], header: Header) -> Levels:
    """Stored values (H, W) after the file's modality LUT or rescale: Hounsfield units for CT."""
    levels = levels_of(stored)
    if header.get("ModalityLUTSequence"):
        values, _ = sequence_table(levels.values, header, "ModalityLUTSequence")
        return Levels(values, levels.index)
    slope, intercept = header.numbers("RescaleSlope"), header.numbers("RescaleIntercept")
    if slope or intercept:
        return Levels(levels.values * (slope or [1.0])[0] + (intercept or [0.0])[0], levels.index)
    return levels


def _padding(stored: NDArray[Any], header: Header) -> NDArray[np.bool_] | None:
    """Which pixels (H, W) fill what was not measured (PS3.3 C.7.5.1.1.2); None where the file names none."""
    first, last = (header.stored_value(f"PixelPadding{end}", stored.dtype) for end in ("Value", "RangeLimit"))
    if first is None:
        return None
    low, high = sorted((first, first if last is None else last))
    return (stored >= low) & (stored <= high)


def _shares(levels: Levels, header: Header, display: DisplayParams) -> NDArray[np.float64] | None:
    """What each level (L,) is shown as by a window or table; None where the spread of the pixels decides."""
    window = display.window
    if isinstance(window, WindowParams):
        return Window(window.center, window.width).shares(levels.values)
    if window in _PRESETS:
        _require_hounsfield(header, window)
        return Window(*_PRESETS[window]).shares(levels.values)
    if window == "file" and header.get("VOILUTSequence"):
        entries, white = sequence_table(levels.values, header, "VOILUTSequence")
        return entries / white
    if window == "file" and (own := _first_window(header)):
        return own.shares(levels.values)
    return None


def _require_hounsfield(header: Header, preset: str) -> None:
    kind, modality = header.code("RescaleType"), header.code("Modality")
    # a file that was stripped of its Modality, and rescales to no stated unit, is taken for CT
    stated = kind == "HU" or (kind in _ALSO_HOUNSFIELD and modality in {"CT", ""})
    rescaled = header.numbers("RescaleSlope") and header.numbers("RescaleIntercept")
    if not (stated and (rescaled or header.get("ModalityLUTSequence"))):
        raise UnreadableImageError(
            f"the window {preset} is in Hounsfield units, and by Modality, RescaleType, RescaleSlope and "
            "RescaleIntercept its values are none: choose window: file or percentiles, or a centre and a width"
        )


def _first_window(header: Header) -> Window | None:
    center, width = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    if not center or not width:
        return None
    function = header.code("VOILUTFunction") or "LINEAR"
    if function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        raise UnreadableImageError("its VOILUTFunction is none of LINEAR, LINEAR_EXACT and SIGMOID")
    return Window(center[0], width[0], function)
