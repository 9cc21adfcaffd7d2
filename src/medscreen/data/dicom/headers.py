"""The elements of a DICOM header as they apply to one frame; none that could name a patient is read."""

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
"""All that is read of a header."""

_DESCRIBED = {"modality": "Modality", "body part": "BodyPartExamined"}
_GROUPED = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Where enhanced multi-frame objects keep these: PS3.3 C.7.6.16.2
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
    """Keyword -> tag of all that is read."""
    return {keyword: _tag(keyword) for keyword in ELEMENTS}


@cache
def _tag(keyword: str) -> "BaseTag":
    from pydicom.tag import Tag

    return Tag(keyword)


class Header:
    """The elements of `dataset` as far as they concern the frame `wanted`, from 0; None is the middle one.

    Set when the pixels are decoded: `bits` and `signed` of a sample; `coding_error`, how far stored values may
    lie from those that were coded, 0 where the coding is lossless. Every access raises UnreadableImageError, naming
    the element, where its value is not of the kind asked for.
    """

    def __init__(self, dataset: "Dataset", wanted: int | None) -> None:
        self.dataset, self.frame = dataset, 0
        self.bits, self.signed, self.coding_error = 16, True, 0.0
        self._has_groups = any(element_tags()[sequence] in dataset for sequence in _GROUPED)
        self.frames = self.natural("NumberOfFrames", 1) or 1  # some write 0 for the one there is
        self.frame = self._middle() if wanted is None else wanted
        if not 0 <= self.frame < self.frames:
            raise UnreadableImageError(f"it has {self.frames} frames, none of them number {self.frame} (from 0)")

    def _middle(self) -> int:
        middle = self.frames // 2
        return frames_in_order(self.dataset, self.frames)[middle] if self.frames <= MOST_FRAMES else middle

    def get(self, keyword: str) -> Any:
        """The element's value: the frame's own, else what all frames share, else the file's; None if it is empty."""
        return next((value for place in self._places(keyword) if (value := _value(place, keyword)) is not None), None)

    def element(self, keyword: str) -> "DataElement":
        """The file's element, with its value representation."""
        if self.get(keyword) is None:
            raise UnreadableImageError(f"the element {keyword} of its header is missing")
        return self.dataset[_tag(keyword)]

    def nearest(self, *keywords: str) -> str | None:
        """The element of one macro nearest to the frame, in the order given; None without one."""
        for place in self._places(keywords[0]):
            for keyword in keywords:
                if _value(place, keyword) is not None:
                    return keyword
        return None

    def _places(self, keyword: str) -> Iterator["Dataset"]:
        """Data sets that may hold an element, the frame's own functional group first."""
        if self._has_groups and keyword in GROUPS:
            for groups, at in zip(_GROUPED, (self.frame, 0), strict=True):
                items = _value(self.dataset, groups) or []
                group = _value(items[at], GROUPS[keyword]) if at < len(items) else None
                if group:
                    yield group[0]
        yield self.dataset

    def parts(self, keyword: str) -> list[Any]:
        """The element's values one by one, None for each that is empty; [] where the element is absent or empty."""
        value = self.get(keyword)
        if value is None:
            return []
        several = isinstance(value, Iterable) and not isinstance(value, str | bytes)
        return [None if _is_blank(part) else part for part in (value if several else [value])]

    def numbers(self, keyword: str) -> list[float]:
        """The element's values, none where it is absent or empty; empty ones behind the last do not count."""
        values = self.parts(keyword)
        while values and values[-1] is None:
            values.pop()
        return [number(value, keyword) for value in values]

    def first(self, keyword: str, otherwise: float) -> float:
        """The element's first value; `otherwise` where it is absent or empty."""
        values = self.parts(keyword)
        return number(values[0], keyword) if any(value is not None for value in values) else otherwise

    def natural(self, keyword: str, otherwise: int | None = None) -> int:
        """The element's one value, 0 or more; `otherwise` where it is absent, an error if that is None."""
        values = self.numbers(keyword)
        if not values and otherwise is not None:
            return otherwise
        if len(values) != 1 or values[0] < 0 or values[0] != int(values[0]):
            raise UnreadableImageError(f"the element {keyword} of its header is missing or no whole number")
        return int(values[0])

    def code(self, keyword: str) -> str:
        """The element's first word in capitals, "" where it is absent."""
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
        """True for an implicit transfer syntax: value representations come from the dictionary."""
        return self.dataset.original_encoding[0] is True

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimeters between rows and between columns; None where the file does not state two lengths."""
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            try:
                values = self.numbers(keyword)
            except UnreadableImageError:  # no picture is worse for it
                continue
            if len(values) == 2 and min(values) > 0:
                return values[0], values[1]
        return None

    @property
    def described(self) -> dict[str, str]:
        """Modality and body part, in capitals; "" where the file does not state them."""
        return {name: self._stated(keyword) for name, keyword in _DESCRIBED.items()}

    def _stated(self, keyword: str) -> str:
        try:
            return " ".join("".join(c if c.isprintable() else " " for c in self.code(keyword)).split())
        except UnreadableImageError:  # no picture is worse for it
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
    """A value of the element `keyword`; raises UnreadableImageError where it is no finite number."""
    try:
        converted = float(value)
    except (TypeError, ValueError):
        raise UnreadableImageError(f"the element {keyword} of its header is no number") from None
    if not math.isfinite(converted):
        raise UnreadableImageError(f"the element {keyword} of its header is no finite number")
    return converted


def _value(place: "Dataset", keyword: str) -> Any:
    """The value of an element of a data set or item, None where it is absent or empty.

    pydicom converts all values of an element or none: where it can't, decimal strings are left as strings.
    """
    tag = _tag(keyword)
    if tag not in place:
        return None
    try:
        value = place[tag].value
    except Exception:  # pydicom quotes what it can't convert
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
    return part is None or (isinstance(part, Sized) and not len(part))  # an item may be without elements, too


def _decimal_strings(place: "Dataset", tag: "BaseTag") -> list[str] | None:
    from pydicom.datadict import dictionary_VR

    element = place.get_item(tag)
    value = None if element is None else element.value
    if not isinstance(value, bytes) or (element.VR or dictionary_VR(tag)) not in {"DS", "IS"}:
        return None
    return value.decode("latin-1").split("\\")
