"""What a DICOM header says of one frame; nothing that could name a patient is read at all."""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from medscreen.ingestion.refusal import UnreadableImageError
from medscreen.ingestion.stacks import MOST_FRAMES, frames_in_order

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

ELEMENTS = (
    "BodyPartExamined",
    "Modality", "BurnedInAnnotation", "PixelSpacing", "ImagerPixelSpacing", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "RescaleType",
    "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData", "SegmentedBluePaletteColorLookupTableData", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)  # fmt: skip
"""All that is read of a header."""

_DESCRIBED = {"modality": "Modality", "body part": "BodyPartExamined"}
_GROUPED = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")
# Where enhanced multi-frame objects keep these: PS3.3 C.7.6.16.2
_GROUPS = {
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "WindowCenter": "FrameVOILUTSequence",
    "WindowWidth": "FrameVOILUTSequence",
    "VOILUTFunction": "FrameVOILUTSequence",
}


@cache
def element_tags() -> dict[str, "BaseTag"]:
    """Keyword -> tag of all that is read."""
    from pydicom.tag import Tag

    return {keyword: Tag(keyword) for keyword in ELEMENTS}


class Header:
    """The elements of `dataset` as far as they concern the frame `wanted`, from 0; None is the middle one.

    Every access raises UnreadableImageError, naming the element, where its value is not of the kind asked for.
    """

    def __init__(self, dataset: "Dataset", wanted: int | None) -> None:
        self.dataset, self.frame = dataset, 0
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
        try:
            if self._has_groups and keyword in _GROUPS and (grouped := self._grouped(keyword)) is not None:
                return grouped
            tag = element_tags()[keyword]
            value = self.dataset[tag].value if tag in self.dataset else None
        except Exception:  # pydicom converts when it is asked, and quotes what it can't convert
            raise UnreadableImageError(f"the element {keyword} of its header is malformed") from None
        return None if value == "" else value

    def _grouped(self, keyword: str) -> Any:
        for groups, place in zip(_GROUPED, (self.frame, 0), strict=True):
            tag = element_tags()[groups]
            items = self.dataset[tag].value or [] if tag in self.dataset else []
            group = items[place].get(_GROUPS[keyword]) if place < len(items) else None
            if group and keyword in group[0]:
                return group[0][keyword].value
        return None

    def numbers(self, keyword: str) -> list[float]:
        """The element's values, none where it is absent or empty."""
        value = self.get(keyword)
        if value is None:
            return []
        try:
            values = [float(value)] if isinstance(value, str | int | float) else [float(part) for part in value]
        except (TypeError, ValueError):
            raise UnreadableImageError(f"the element {keyword} of its header is no number") from None
        if not all(math.isfinite(number) for number in values):
            raise UnreadableImageError(f"the element {keyword} of its header is no finite number")
        return values

    def natural(self, keyword: str, otherwise: int | None = None) -> int:
        """The element's one value, 0 or more; `otherwise` where it is absent, an error if that is None."""
        values = self.numbers(keyword)
        if not values and otherwise is not None:
            return otherwise
        if len(values) != 1 or values[0] < 0 or values[0] != int(values[0]):
            raise UnreadableImageError(f"the element {keyword} of its header is missing or no whole number")
        return int(values[0])

    def stored_value(self, keyword: str, kind: np.dtype[Any]) -> int | None:
        """The element's one value as pixels of that kind store it; None where it is no whole number, or absent."""
        value = self.get(keyword)
        if isinstance(value, bytes):  # which an implicit header leaves to the one who knows the pixels
            value = int.from_bytes(value, "little" if self.little_endian else "big")
        if not isinstance(value, int) or kind.kind not in "iu":
            return None
        # written with a sign for values that have none, or the other way round: the bits are the same
        bits = np.array(value % 2 ** (8 * kind.itemsize), f"u{kind.itemsize}")
        return int(bits.view(kind.newbyteorder("=")))

    def code(self, keyword: str) -> str:
        """The element's first word in capitals, "" where it is absent."""
        value = self.get(keyword)
        if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
            value = value[0]
        return value.strip().upper() if isinstance(value, str) else ""

    @property
    def little_endian(self) -> bool:
        """Whether words in the file have their low byte first."""
        return self.dataset.original_encoding[1] is not False

    @property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres between rows and between columns; None where the file does not say, or not in two lengths."""
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
        """Whether the file says that text is burned into its pixels."""
        return self.code("BurnedInAnnotation") == "YES"
