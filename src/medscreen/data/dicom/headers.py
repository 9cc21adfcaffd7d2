"""Elements of a DICOM header as they apply to one frame; elements that identify a patient are not read."""

import math
from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import cache
from typing import TYPE_CHECKING, Any

from medscreen.data.dicom.slice_order import MOST_FRAMES, frames_in_order
from medscreen.data.image_errors import UnreadableImageError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataelem import DataElement
    from pydicom.tag import BaseTag

ELEMENTS = (
    "BodyPartExamined",
    "Modality", "BurnedInAnnotation", "PixelSpacing", "ImagerPixelSpacing", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit",
    "DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit", "LossyImageCompression",
    "PresentationLUTShape", "PixelPresentation", "RescaleIntercept", "RescaleSlope", "RescaleType",
    "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData", "ExtendedOffsetTable",
    "SOPClassUID", "PresentationIntentType",
)  # fmt: skip
"""All elements of a header that are read."""

_DESCRIBED = {"modality": "Modality", "body part": "BodyPartExamined"}
_GROUPED = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Functional group of each element in enhanced multi-frame objects: PS3.3 C.7.6.16.2
GROUPS = {
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "ModalityLUTSequence": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
    "VOILUTSequence": "FrameVOILUTSequence",
}


@cache
def element_tags() -> dict[str, "BaseTag"]:
    """Keyword -> tag of all elements that are read."""
    return {keyword: _tag(keyword) for keyword in ELEMENTS}


@cache
def _tag(keyword: str) -> "BaseTag":
    from pydicom.tag import Tag

    return Tag(keyword)


class Header:
    """The elements of `dataset` for the frame `wanted`, from 0; None: the middle frame.

    Set when the pixels are decoded: `bits` and `signed` of a sample; `coding_error`, the maximum error of stored values
    by their coding, 0 if it is lossless. Every access raises UnreadableImageError, naming the element, if its value has
    another type than requested.
    """

    def __init__(self, dataset: "Dataset", wanted: int | None) -> None:
        self.dataset, self.frame = dataset, 0
        self.bits, self.signed, self.coding_error = 16, True, 0.0
        self._has_groups = any(element_tags()[sequence] in dataset for sequence in _GROUPED)
        self.frames = self.natural("NumberOfFrames", 1) or 1  # some files state 0 for one frame
        self.frame = self._middle() if wanted is None else wanted
        if not 0 <= self.frame < self.frames:
            raise UnreadableImageError(f"it has {self.frames} frames, and no frame {self.frame} (from 0)")

    def _middle(self) -> int:
        middle = self.frames // 2
        return frames_in_order(self.dataset, self.frames)[middle] if self.frames <= MOST_FRAMES else middle

    def get(self, keyword: str) -> Any:
        """Value of an element for the frame, else for all frames, else in the file; None if it is missing or empty."""
        return next((value for place in self._places(keyword) if (value := _value(place, keyword)) is not None), None)

    def element(self, keyword: str) -> "DataElement":
        """The file's element, with its value representation."""
        if self.get(keyword) is None:
            raise UnreadableImageError(f"the element {keyword} of its header is missing")
        return self.dataset[_tag(keyword)]

    def nearest(self, *keywords: str) -> str | None:
        """The first of these elements of one macro that has a value, nearest to the frame; None if none has."""
        for place in self._places(keywords[0]):
            for keyword in keywords:
                if _value(place, keyword) is not None:
                    return keyword
        return None

    def _places(self, keyword: str) -> Iterator["Dataset"]:
        """Data sets that may contain an element, the frame's functional group first."""
        if self._has_groups and keyword in GROUPS:
            for groups, at in zip(_GROUPED, (self.frame, 0), strict=True):
                items = _value(self.dataset, groups) or []
                group = _value(items[at], GROUPS[keyword]) if at < len(items) else None
                if group:
                    yield group[0]
        yield self.dataset

    def parts(self, keyword: str) -> list[Any]:
        """The element's values as a list, None for empty ones; [] if the element is absent or empty."""
        value = self.get(keyword)
        if value is None:
            return []
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        return [None if _is_blank(part) else part for part in (value if several else [value])]

    def numbers(self, keyword: str) -> list[float]:
        """The element's values as numbers, without trailing empty ones; [] if it is absent or empty."""
        values = self.parts(keyword)
        while values and values[-1] is None:
            values.pop()
        return [number(value, keyword) for value in values]

    def first(self, keyword: str, otherwise: float) -> float:
        """The element's first value; `otherwise` if it is absent or empty."""
        values = self.parts(keyword)
        return number(values[0], keyword) if any(value is not None for value in values) else otherwise

    def natural(self, keyword: str, otherwise: int | None = None) -> int:
        """The element's single whole number, 0 or more; `otherwise` if it is absent, an error if that is None."""
        values = self.numbers(keyword)
        if not values and otherwise is not None:
            return otherwise
        if len(values) != 1 or values[0] < 0 or values[0] != int(values[0]):
            raise UnreadableImageError(f"the element {keyword} of its header is missing or not a whole number")
        return int(values[0])

    def code(self, keyword: str) -> str:
        """The element's first value as text in capitals; "" if it is absent."""
        value = self.get(keyword)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
            value = value[0]
        return value.strip().upper() if isinstance(value, str) else ""

    @property
    def little_endian(self) -> bool:
        """True for little-endian words."""
        return self.dataset.original_encoding[1] is not False

    @property
    def implicit(self) -> bool:
        """True for implicit VR: value representations come from the data dictionary."""
        return self.dataset.original_encoding[0] is True

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimeters between rows and between columns; None if the file does not state both."""
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            try:
                values = self.numbers(keyword)
            except UnreadableImageError:  # optional: the image can be displayed without it
                continue
            if len(values) == 2 and min(values) > 0:
                return values[0], values[1]
        return None

    @property
    def described(self) -> dict[str, str]:
        """Modality and body part, in capitals; "" if the file does not state them."""
        return {name: self._stated(keyword) for name, keyword in _DESCRIBED.items()}

    def _stated(self, keyword: str) -> str:
        try:
            return " ".join("".join(c if c.isprintable() else " " for c in self.code(keyword)).split())
        except UnreadableImageError:  # optional: the image can be displayed without it
            return ""

    @property
    def burned_in(self) -> bool:
        """True if BurnedInAnnotation is YES: text is burned into the pixels."""
        return self.code("BurnedInAnnotation") == "YES"

    @property
    def for_processing(self) -> bool:
        """True for raw detector values, before processing for display (PS3.3 C.8.11.1)."""
        intent = " ".join(self.code("PresentationIntentType").replace("\0", " ").replace("_", " ").split())
        storage: str = getattr(self.get("SOPClassUID"), "name", "")
        return intent == "FOR PROCESSING" or storage.endswith("For Processing")


def number(value: Any, keyword: str) -> float:
    """A value of the element `keyword` as a number; raises UnreadableImageError if it is not a finite number."""
    try:
        converted = float(value)
    except (TypeError, ValueError):
        raise UnreadableImageError(f"the element {keyword} of its header is not a number") from None
    if not math.isfinite(converted):
        raise UnreadableImageError(f"the element {keyword} of its header is not a finite number")
    return converted


def _value(place: "Dataset", keyword: str) -> Any:
    """The value of an element of a data set or item; None if it is absent or empty.

    pydicom converts all values of an element or none: if it can't, decimal strings are returned as strings.
    """
    tag = _tag(keyword)
    if tag not in place:
        return None
    try:
        value = place[tag].value
    except Exception:  # pydicom's message quotes the value
        value = _decimal_strings(place, tag)
        if value is None:
            raise UnreadableImageError(f"the element {keyword} of its header is malformed") from None
    return None if _is_empty(value) else value


def _is_empty(value: Any) -> bool:
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return all(map(_is_blank, value))
    return _is_blank(value)


def _is_blank(part: Any) -> bool:
    if isinstance(part, str):
        return not part.strip(" \0")
    return part is None or (isinstance(part, Sized) and not len(part))  # items can be empty, too


def _decimal_strings(place: "Dataset", tag: "BaseTag") -> list[str] | None:
    from pydicom.datadict import dictionary_VR

    element = place.get_item(tag)
    value = None if element is None else element.value
    if not isinstance(value, bytes) or (element.VR or dictionary_VR(tag)) not in {"DS", "IS"}:
        return None
    return value.decode("latin-1").split("\\")
