"""Sample layout of a page of a TIFF file."""

from dataclasses import dataclass

from medscreen.data.image_errors import UnreadableImageError, require_size
from medscreen.data.tiff.pages import Page

RGB = 2
"""The photometric interpretation of color; 0 is gray with white at 0, 1 gray with black at 0."""
PREMULTIPLIED, ALPHA = 1, 2
"""Kinds of alpha (ExtraSamples): colors are already multiplied by it, or not."""
UNSIGNED, SIGNED, FLOAT, VOID = 1, 2, 3, 4
"""Sample formats; without a stated format, unsigned integers are assumed."""
_NAMES = {
    UNSIGNED: "unsigned integers", SIGNED: "signed integers", FLOAT: "floating point", VOID: "of no stated format",
    5: "complex integers", 6: "complex floating point",
}  # fmt: skip
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_TILE_WIDTH, _TILE_HEIGHT, _OFFSETS, _EXTRA, _FORMATS = 322, 323, (273, 324), 338, 339
_DEPTH = 32997  # planes of a volume in one page
_OLD_JPEG, _YCBCR = 6, 6
_MOST_BYTES = 640 * 10**6  # of samples, decoded: 80 million of 64 bits
_MOST_SEGMENTS = 65_536  # strips or tiles


@dataclass(frozen=True)
class Layout:
    """Sample layout of a page; `bits` and `formats` have one entry per sample of a pixel."""

    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    photometric: int
    extra: tuple[int, ...]
    compression: int

    @property
    def colors(self) -> int:
        """Number of gray or color samples of a pixel."""
        return 3 if self.photometric == RGB else 1

    @property
    def alpha(self) -> int:
        """The kind of alpha in the sample after the colors; 0: none."""
        if self.extra:
            return self.extra[0] if self.extra[0] in {PREMULTIPLIED, ALPHA} else 0
        return ALPHA if self.photometric == RGB and len(self.bits) == 4 else 0  # as other readers assume

    @property
    def plain(self) -> bool:
        """True for unsigned integers of at most 8 bits, which Pillow reads."""
        return max(self.bits) <= 8 and set(self.formats) == {UNSIGNED}

    def __str__(self) -> str:
        """The sample format in words."""
        bits, formats = (list(dict.fromkeys(values)) for values in (self.bits, self.formats))
        return (
            f"{len(self.bits)} x {' and '.join(map(str, bits))} bits, "
            f"{' and '.join(_NAMES.get(name, 'of an unknown format') for name in formats)}, "
            f"photometric interpretation {self.photometric}, compression {self.compression}"
        )


def layout_of(page: Page) -> Layout:
    """The layout of a page; raises UnreadableImageError if tags are missing, or state more than is decoded."""
    width, height, compression = page.number(_WIDTH, 0), page.number(_HEIGHT, 0), page.number(_COMPRESSION, 1)
    require_size(width, height)
    if page.number(_DEPTH, 1) > 1:
        raise UnreadableImageError("its TIFF tag ImageDepth states a volume in one page: save each slice as a page")
    samples = page.number(_SAMPLES, 1)
    bits, formats = page.numbers(_BITS) or [1], page.numbers(_FORMATS) or [UNSIGNED]
    if not 1 <= samples <= 64 or 0 in bits:
        raise UnreadableImageError("its TIFF tags SamplesPerPixel and BitsPerSample are invalid")
    photometric = page.number(_PHOTOMETRIC, _YCBCR if compression == _OLD_JPEG else -1)
    if photometric < 0:
        raise UnreadableImageError("its TIFF tag PhotometricInterpretation (whether 0 is black) is missing")
    layout = Layout(
        width,
        height,
        tuple((bits * samples if len(bits) == 1 else bits)[:samples]),
        tuple((formats * samples if len(formats) == 1 else formats)[:samples]),
        photometric,
        tuple(page.numbers(_EXTRA)),
        compression,
    )
    _require_bounded(page, layout)
    return layout


def unread(layout: Layout) -> UnreadableImageError:
    """The error for an unsupported sample format, which it names."""
    return UnreadableImageError(
        f"its TIFF sample format is not supported ({layout}); save it as gray or RGB of 8 or 16 bits, uncompressed"
    )


def _require_bounded(page: Page, layout: Layout) -> None:
    tile = page.number(_TILE_WIDTH, 1), page.number(_TILE_HEIGHT, 1)
    require_size(*tile)
    decoded = max(layout.width * layout.height, tile[0] * tile[1]) * sum(layout.bits) // 8
    if decoded > _MOST_BYTES:
        raise UnreadableImageError(f"its samples would take {decoded:,} bytes; at most {_MOST_BYTES:,} are decoded")
    segments = max(len(page.numbers(tag)) for tag in _OFFSETS)
    if segments > _MOST_SEGMENTS:
        raise UnreadableImageError(f"it has {segments:,} strips or tiles; at most {_MOST_SEGMENTS:,} are read")
