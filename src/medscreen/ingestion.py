"""The one way from a file to display grey, shared by curation, prediction and service.

DICOM: stored values -> modality LUT -> window (VOI LUT) -> inversion for MONOCHROME1 -> 8-bit grey.
Other images: their luminance, 16-bit ones stretched between their percentiles.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medscreen.errors import MedscreenError

if TYPE_CHECKING:
    from pydicom import Dataset

Grey = NDArray[np.uint8]
"""One image as displayed: (height, width), 0 black to 255 white."""

# Without a window in the file, the display spans these percentiles: extremes are often burnt-in marks.
_DISPLAY_PERCENTILES = (0.5, 99.5)


class UnreadableImageError(MedscreenError):
    """The file holds no image that can be shown; the message is the reason, without the file's name."""


def read_grey(path: Path) -> Grey:
    """The file's image as displayed, at its own size.

    DICOM is told by content, not by the name. Of a multi-frame file the middle frame is taken. Raises
    UnreadableImageError for whatever can't be decoded and for an image of one single grey value.
    """
    try:
        with path.open("rb") as file:
            is_dicom = file.read(132)[128:] == b"DICM"
        # Pillow only warns of a decompression bomb up to twice its limit: here that is a refusal.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            grey = _read_dicom(path) if is_dicom else _read_picture(path)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise whatever they like on broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(reason.replace(str(path), path.name)[:200]) from error
    _require_picture(grey)
    return grey


def _require_picture(grey: Grey) -> None:
    if grey.min() == grey.max():
        raise UnreadableImageError(f"every pixel has the same grey value ({grey.min()})")
    if grey.max() <= 1:
        raise UnreadableImageError("no grey level is above 1: values in 0 to 1 were saved as integers")


def to_square(grey: Grey, size: int) -> Grey:
    """The central square of an image at `size` x `size` pixels, as MedMNIST prepares its images.

    The filter is the one inside the packaged graph. An image that has that size already comes back unchanged.
    Raises UnreadableImageError if nothing is to be seen in it.
    """
    height, width = grey.shape
    if (height, width) == (size, size):
        _require_picture(grey)
        return grey
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(grey[top : top + side, left : left + side])
    result = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    _require_picture(result)
    return result


def _read_picture(path: Path) -> Grey:
    with Image.open(path) as picture:
        picture.load()
        if picture.mode in {"I;16", "I;16B", "I;16L", "I", "F"}:
            return _stretch(np.asarray(picture, dtype=np.float64))
        return np.asarray(ImageOps.exif_transpose(picture).convert("L"))


def _read_dicom(path: Path) -> Grey:
    # pydicom costs half a second that readers of PNG files need not pay
    import pydicom
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

    dataset = pydicom.dcmread(path)
    if "PixelData" not in dataset:
        raise UnreadableImageError("the DICOM file has no pixel data")
    frames = int(dataset.get("NumberOfFrames") or 1)
    stored = dataset.pixel_array
    if frames > 1:
        stored = stored[frames // 2]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:
        eight_bit = stored.astype(np.float64) * 255 / np.iinfo(stored.dtype).max
        return np.asarray(Image.fromarray(np.round(eight_bit).astype(np.uint8)).convert("L"))
    grey = _windowed(np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64), dataset)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _windowed(values: NDArray[np.float64], dataset: "Dataset") -> Grey:
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if luts := dataset.get("VOILUTSequence"):
        white = 2.0 ** int(luts[0].LUTDescriptor[2]) - 1
        return _scale(apply_voi(values.astype(np.int64), dataset).astype(np.float64), 0, white)
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        # pydicom answers in the range of the stored values; two extreme pixels tell which range that is.
        extremes = np.array([-1e9, 1e9])
        shown = apply_windowing(np.concatenate([values.ravel(), extremes]), dataset)
        return _scale(shown[:-2].reshape(values.shape), float(shown[-2]), float(shown[-1]))
    return _stretch(values)


def _stretch(values: NDArray[np.float64]) -> Grey:
    low, high = np.percentile(values, _DISPLAY_PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return _scale(values, float(low), float(high))


def _scale(values: NDArray[np.float64], low: float, high: float) -> Grey:
    """Grey 0 at `low`, 255 at `high`; with a negative rescale slope, `low` is the larger one."""
    if not np.isfinite([low, high]).all() or low == high:
        return np.zeros(values.shape, np.uint8)
    return np.round((values - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
