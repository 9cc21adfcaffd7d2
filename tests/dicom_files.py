"""DICOM files for tests: lookup tables, functional groups, encapsulated frames, every byte order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_image

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)


def grey(path: Path, frame: int | None = None, display: DisplayParams = FILE_DISPLAY) -> NDArray[np.int64]:
    return read_image(path, display, frame).grey.astype(np.int64)


def reason(path: Path, frame: int | None = None, display: DisplayParams = FILE_DISPLAY) -> str:
    with pytest.raises(UnreadableImageError) as error:
        read_image(path, display, frame)
    return str(error.value)


def item(**elements: Any) -> Dataset:
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def linear(values: NDArray[Any], center: float, width: float) -> NDArray[np.float64]:
    """LINEAR of PS3.3 C.11.2.1.2.1, to 0..255."""
    return np.asarray(np.round(np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255))


def stretched(values: NDArray[Any], measured: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """From percentile to percentile of the measured values, to 0..255."""
    low, high = np.percentile(values if measured is None else values[measured], (0.5, 99.5))
    return np.asarray(np.round(np.clip((values - low) / (high - low), 0, 1) * 255))


def table(
    entries: Any, first: int = 0, bits: int = 16, sign: str = "US", kind: str = "OW", order: str = "<"
) -> Dataset:
    """An item of a LUT sequence; the first value mapped is written with 16 bits, represented as `sign`."""
    lut = Dataset()
    words = np.asarray(entries)
    described = np.array([len(words) % 65536, first % 65536, bits], np.uint16)
    lut.add_new("LUTDescriptor", sign, (described.view(np.int16) if sign == "SS" else described).tolist())
    lut.add_new("LUTData", kind, words.astype(f"{order}u2").tobytes() if kind == "OW" else words.tolist())
    return lut


def saved(path: Path, stored: NDArray[Any], syntax: str, bits: int, **elements: Any) -> Path:
    """A file of uncompressed pixels in a syntax; `elements` of OW come in its byte order."""
    little = syntax != ExplicitVRBigEndian
    pixels = stored.astype(stored.dtype.newbyteorder("<" if little else ">")).tobytes()
    dataset = _dataset(stored, pixels, syntax, bits, elements)
    dataset["PixelData"].VR = "OW" if little or stored.itemsize > 1 else "OB"
    dataset.save_as(path, enforce_file_format=True)
    return path


def compressed(
    path: Path, stored: NDArray[Any], frames: Sequence[bytes], syntax: str, bits: int, **elements: Any
) -> Path:
    """A file with encapsulated frames; `stored` gives shape and kind of the values."""
    dataset = _dataset(stored, encapsulate(list(frames)), syntax, bits, elements)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


def _dataset(stored: NDArray[Any], pixels: bytes, syntax: str, bits: int, elements: dict[str, Any]) -> Dataset:
    dataset = item(
        SOPClassUID=SecondaryCaptureImageStorage, SOPInstanceUID="1.2.3", Rows=stored.shape[-2],
        Columns=stored.shape[-1], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=8 * stored.itemsize, BitsStored=bits, HighBit=bits - 1,
        PixelRepresentation=int(stored.dtype.kind == "i"),
    )  # fmt: skip
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if name in dataset:
            dataset[name].VR = "SS" if dataset.PixelRepresentation else "US"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def groups(**elements: Any) -> dict[str, Any]:
    """`shared=item` and `frames=[item, ...]` as the functional groups of an enhanced multi-frame file."""
    keywords = {"shared": "SharedFunctionalGroupsSequence", "frames": "PerFrameFunctionalGroupsSequence"}
    return {keywords[name]: Items([value] if name == "shared" else value) for name, value in elements.items()}
