"""Stored values to display gray: modality LUT or rescale, then VOI LUT or window (DICOM PS3.3 C.11.1 and C.11.2)."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medscreen.config.display import DisplayParams, WindowParams
from medscreen.data.dicom.headers import Header, number
from medscreen.data.dicom.luts import sequence_table
from medscreen.data.dicom.padding import padding
from medscreen.data.dicom.palettes import supplemental_grey
from medscreen.data.dicom.photometric import invert_monochrome1, require_consistent_shape
from medscreen.data.display import Grey
from medscreen.data.image_errors import SET_WINDOW, UnreadableImageError
from medscreen.data.levels import Levels, levels_of

_PRESETS = {  # Hounsfield units: center, width
    "soft_tissue": (40.0, 400.0),
    "lung": (-600.0, 1500.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
_ALSO_HOUNSFIELD = {"", "HU", "US"}  # US: unspecified, which many archives write for CT


@dataclass(frozen=True)
class Window:
    """A window in units after rescale; `function` is one of DICOM's VOI LUT Functions."""

    center: float
    width: float
    function: str = "LINEAR"

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values on a scale from black (0) to white (1), of the same shape; below 0 or above 1 outside the window.

        Raises UnreadableImageError for a width below the minimum of the function.
        """
        least = 1.0 if self.function == "LINEAR" else 0.0
        if self.width < least or self.width == 0:
            raise UnreadableImageError(
                f"its Window Width is too small for the function {self.function}: {SET_WINDOW} percentiles, or a "
                "center and a width"
            )
        if self.function == "SIGMOID":
            exponent = np.clip(-4 * (values - self.center) / self.width, -700, 700)  # avoids overflow
            return 1 / (1 + np.exp(exponent))
        if self.function == "LINEAR_EXACT":
            return (values - self.center) / self.width + 0.5
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return (values - (self.center - 0.5)) / (self.width - 1) + 0.5


def displayed(stored: NDArray[np.generic], header: Header, display: DisplayParams) -> Grey:
    """Stored values (H, W) of one channel as display gray (H, W).

    Raises UnreadableImageError if the header is invalid or contradicts itself, or the window does not apply.
    """
    require_consistent_shape(header)
    raw = levels_of(stored)
    levels = _modality_levels(raw, header)
    colors = supplemental_grey(raw.values, header)
    shares = _shares(levels, header, display)
    if shares is None:
        unmeasured = padding(stored, header)
        if colors:
            colored = colors[0].take(raw.index)
            unmeasured = colored if unmeasured is None else unmeasured | colored
        shares = levels.stretched(*levels.spread(unmeasured))
    grey = invert_monochrome1(levels.to_gray(shares), header)
    return np.where(colors[0].take(raw.index), colors[1].take(raw.index), grey) if colors else grey


def _modality_levels(levels: Levels, header: Header) -> Levels:
    """Levels of stored values after the file's modality LUT or rescale: Hounsfield units for CT."""
    way = header.nearest("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
    if way == "ModalityLUTSequence":
        table = sequence_table(header, way, levels.values, header.signed)
        return replace(levels, values=table.of(levels.values))
    if way is None:
        return levels
    slope, intercept = _rescale(header)
    return replace(levels, values=levels.values * slope + intercept)


def _rescale(header: Header) -> tuple[float, float]:
    slope, intercept = header.first("RescaleSlope", 1.0), header.first("RescaleIntercept", 0.0)
    if slope == 0:
        raise UnreadableImageError("its RescaleSlope is 0, which makes all values equal: correct it or remove it")
    return slope, intercept


def _may_be_negative(header: Header) -> bool:
    """True if stored values of that many bits can be negative after the modality LUT or rescale."""
    way = header.nearest("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
    if way == "ModalityLUTSequence":
        return False
    slope, intercept = _rescale(header) if way else (1.0, 0.0)
    ends = (-(2.0 ** (header.bits - 1)), 2.0 ** (header.bits - 1) - 1) if header.signed else (0.0, 2.0**header.bits - 1)
    return min(end * slope + intercept for end in ends) < 0


def _shares(levels: Levels, header: Header, display: DisplayParams) -> NDArray[np.float64] | None:
    """Display value of each level (L,) by a window or VOI LUT; None if percentiles of the pixels are to be used."""
    window = display.window
    if isinstance(window, WindowParams):
        return Window(window.center, window.width).shares(levels.values)
    if window in _PRESETS:
        _require_hounsfield(header, window)
        return Window(*_PRESETS[window]).shares(levels.values)
    way = header.nearest("VOILUTSequence", "WindowCenter") if window == "file" else None
    if way == "VOILUTSequence":
        table = sequence_table(header, way, levels.values, _may_be_negative(header))
        return table.of(levels.values) / table.white
    if way and (own := _first_window(header)):
        return own.shares(levels.values)
    return None


def _require_hounsfield(header: Header, preset: str) -> None:
    kind, modality = header.code("RescaleType"), header.code("Modality")
    # a file without Modality and with an absent or unspecified RescaleType is taken as CT
    stated = kind == "HU" or (kind in _ALSO_HOUNSFIELD and modality in {"CT", ""})
    rescaled = None not in (header.get("RescaleSlope"), header.get("RescaleIntercept"))
    if not (stated and (rescaled or header.get("ModalityLUTSequence") is not None)):
        raise UnreadableImageError(
            f"the window {preset} needs Hounsfield units, and by Modality, RescaleType, RescaleSlope and "
            f"RescaleIntercept its values have other units: {SET_WINDOW} file or percentiles, or a center and a width"
        )


def _first_window(header: Header) -> Window | None:
    """The first window with a center and a width; None if there is none."""
    centers, widths = header.parts("WindowCenter"), header.parts("WindowWidth")
    pairs = [pair for pair in zip(centers, widths, strict=False) if None not in pair]
    if not pairs:  # some files leave a center empty at one position, and a width at another
        pairs = list(zip(*([part for part in parts if part is not None] for parts in (centers, widths)), strict=False))
    if not pairs:
        return None
    function = header.code("VOILUTFunction") or "LINEAR"
    if function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        raise UnreadableImageError("its VOILUTFunction is unsupported; supported: LINEAR, LINEAR_EXACT, SIGMOID")
    return Window(number(pairs[0][0], "WindowCenter"), number(pairs[0][1], "WindowWidth"), function)
