"""Header combinations against the standard in plain NumPy: bits, sign, rescale or table, window or table, padding,
photometric interpretation, functional groups, transfer syntax.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.pixels.encoders.base import RLELosslessEncoder
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, RLELossless

from dicom_encoders import JPEG_LOSSLESS, JPEG_LS, by_gdcm, jpeg_2000
from dicom_files import NATIVE, compressed, grey, groups, item, reason, saved, table

SIZE = 48
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Macro:
    """A module of the header: its elements, where they stand (the file, shared, each frame), what it does to values."""

    kind: str
    place: str
    numbers: tuple[float, ...] = ()
    bits: int = 16
    seed: int = 0
    largest: float = 1.0

    @property
    def peak(self) -> int:
        """The largest entry: that share of what the declared bits hold, or more."""
        return min(max(round((2**self.bits - 1) * self.largest), 1), 65535)

    @property
    def white(self) -> int:
        """The entry that is white: what the declared bits hold, if the table uses more than half of it and no more."""
        declared = 2**self.bits - 1
        return declared if declared < 2 * self.peak <= 2 * declared else self.peak

    @property
    def entries(self) -> NDArray[np.int64]:
        number = int(self.numbers[1])
        found = np.random.default_rng(self.seed).integers(0, self.peak + 1, number)
        found[0], found[-1] = 0, self.peak
        return found


@dataclass(frozen=True)
class Case:
    """One header, without pixels."""

    bits: int
    allocated: int
    signed: bool
    unused: int
    frames: int
    photometric: str
    syntax: str
    modality: Macro
    voi: Macro
    padding: tuple[int, int | None] | None
    sign: str
    seed: int


def looked_up(macro: Macro, values: Values) -> Values:
    places = np.clip(np.rint(values - macro.numbers[0]), 0, len(macro.entries) - 1)  # the entry that is nearest
    return macro.entries[places.astype(int)].astype(np.float64)


def by_the_standard(case: Case, stored: NDArray[Any]) -> Values:
    """What a frame (H, W) of stored values is shown as, before rounding."""
    values = stored.astype(np.float64)
    if case.modality.kind == "rescale":
        values = values * case.modality.numbers[0] + case.modality.numbers[1]
    elif case.modality.kind == "table":
        values = looked_up(case.modality, values)
    if case.voi.kind == "table":
        shown = looked_up(case.voi, values) / case.voi.white
    elif case.voi.kind == "none":
        measured = np.ones(values.shape, bool)
        if case.padding:
            low, high = sorted((case.padding[0], case.padding[0] if case.padding[1] is None else case.padding[1]))
            measured = ~((stored >= low) & (stored <= high))
        counted = values[measured] if measured.any() else values
        low_end, high_end = np.percentile(counted, (0.5, 99.5))
        if low_end == high_end:
            low_end, high_end = counted.min(), counted.max()
        shown = (values - low_end) / (high_end - low_end) if low_end != high_end else np.zeros(values.shape)
    else:
        center, width = case.voi.numbers
        shown = {
            "LINEAR": lambda: (values - (center - 0.5)) / (width - 1) + 0.5,
            "LINEAR_EXACT": lambda: (values - center) / width + 0.5,
            "SIGMOID": lambda: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500))),
        }[case.voi.kind]()
    shown = np.clip(shown, 0, 1) * 255
    return np.asarray(255 - shown if case.photometric == "MONOCHROME1" else shown)


def lut(case: Case, macro: Macro) -> Any:
    order = ">" if case.syntax == ExplicitVRBigEndian else "<"
    return Sequence([table(macro.entries, int(macro.numbers[0]), macro.bits, case.sign, order=order)])


def elements_of(case: Case) -> dict[str, Any]:
    modality: dict[str, Any] = {}
    if case.modality.kind == "rescale":
        modality = {"RescaleSlope": case.modality.numbers[0], "RescaleIntercept": case.modality.numbers[1]}
    elif case.modality.kind == "table":
        modality = {"ModalityLUTSequence": lut(case, case.modality)}
    voi: dict[str, Any] = {}
    if case.voi.kind == "table":
        voi = {"VOILUTSequence": lut(case, case.voi)}
    elif case.voi.kind != "none":
        voi = {"WindowCenter": case.voi.numbers[0], "WindowWidth": case.voi.numbers[1], "VOILUTFunction": case.voi.kind}
    elements: dict[str, Any] = {"PhotometricInterpretation": case.photometric}
    grouped: dict[str, dict[str, Any]] = {"shared": {}, "frames": {}}
    for macro, own, sequence in (
        (case.modality, modality, "PixelValueTransformationSequence"),
        (case.voi, voi, "FrameVOILUTSequence"),
    ):
        if own and macro.place != "file":
            grouped[macro.place][sequence] = Sequence([item(**own)])
        else:
            elements |= own
    if any(grouped.values()):
        frames = [item(**grouped["frames"]) for _ in range(case.frames)]
        elements |= groups(shared=item(**grouped["shared"]), frames=frames)
    if case.padding:
        elements["PixelPaddingValue"] = case.padding[0]
        if case.padding[1] is not None:
            elements["PixelPaddingRangeLimit"] = case.padding[1]
    return elements


def written(path: Path, case: Case, stored: NDArray[Any]) -> Path:
    elements = elements_of(case)
    if case.syntax in NATIVE or case.syntax == RLELossless:
        words = (stored << case.unused).astype(stored.dtype)
        elements["HighBit"] = case.bits - 1 + case.unused
        if case.syntax != RLELossless:
            return saved(path, words, case.syntax, case.bits, **elements)
        stated = {
            "rows": SIZE, "columns": SIZE, "samples_per_pixel": 1, "bits_allocated": case.allocated,
            "bits_stored": case.allocated, "pixel_representation": int(case.signed), "number_of_frames": 1,
            "photometric_interpretation": case.photometric,
        }  # fmt: skip
        frames = [RLELosslessEncoder.encode(frame, **stated) for frame in words]
    elif case.syntax == JPEG2000Lossless:
        frames = [jpeg_2000(frame, case.bits) for frame in stored]
    else:
        frames = [by_gdcm(frame, case.syntax, case.bits) for frame in stored]
    return compressed(path, stored, frames, case.syntax, case.bits, **elements)


PLACES = st.sampled_from(["file", "shared", "frames"])
BITS, SEEDS = st.integers(8, 16), st.integers(0, 99)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    syntax = draw(st.sampled_from([*NATIVE, *NATIVE, RLELossless, JPEG2000Lossless, JPEG_LOSSLESS, JPEG_LS]))
    if syntax in {JPEG_LOSSLESS, JPEG_LS}:
        bits = draw(st.sampled_from([8, 10, 12, 14, 16]))
    else:
        bits = draw(st.integers(2, 16))
    allocated = 8 if bits == 8 else 16
    if syntax in NATIVE and bits < 8:
        allocated = draw(st.sampled_from([8, 16]))
    if syntax == JPEG2000Lossless and bits <= 8:
        allocated = 8
    signed = draw(st.booleans())
    unused = draw(st.integers(0, allocated - bits)) if syntax in NATIVE or syntax == RLELossless else 0
    low = -(2 ** (bits - 1)) if signed else 0
    high = low + 2**bits - 1
    modality = Macro("none", "file")
    kind = draw(st.sampled_from(["none", "rescale", "table"]))
    if kind == "rescale":
        slope = draw(st.sampled_from([1.0, -1.0, 2.0, 0.5, 3.0]))
        modality = Macro(kind, draw(PLACES), (slope, float(draw(st.integers(-2000, 2000)))))
    elif kind == "table":
        first = draw(st.integers(low, max(low, high - 2)))
        modality = Macro(
            kind, draw(PLACES), (first, draw(st.integers(2, 400))), draw(st.integers(8, 16)), draw(st.integers(0, 9))
        )
    ends = np.array([low, high], float)
    if modality.kind == "rescale":
        ends = np.sort(ends * modality.numbers[0] + modality.numbers[1])
    elif modality.kind == "table":
        ends = np.array([0.0, 2.0**modality.bits - 1])
    middle = float(np.round(ends.mean()))
    kind = draw(st.sampled_from(["none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "table"]))
    width = float(draw(st.integers(2, 70000)))
    voi = Macro(kind, draw(PLACES), (middle + draw(st.integers(-50, 50)), width))
    # where 16 bits with and without a sign both lie among the values, only the right representation tells them apart
    either = ends[0] < 0 and ends[1] > 32767
    if kind == "table":
        first = int(np.clip(middle - draw(st.integers(0, 300)), -32768, 32767 if ends[0] < 0 else 65000))
        voi = Macro(
            kind, draw(PLACES), (first, draw(st.integers(2, 600))), draw(st.integers(8, 16)), draw(st.integers(0, 9)),
            draw(st.sampled_from([1.0, 0.75, 0.501, 0.5, 0.25, 0.06, 1.5, 16.0])),
        )  # fmt: skip
    value = st.integers(low, high)
    padding = draw(st.none() | st.tuples(value, st.none() | value))
    frames, photometric = draw(st.sampled_from([1, 3])), draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"]))
    return Case(
        bits, allocated, signed, unused, frames, photometric, syntax, modality, voi, padding,
        "SS" if either else draw(st.sampled_from(["US", "SS"])), draw(SEEDS),
    )  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_every_combination_is_shown_as_the_standard_says(tmp_path_factory: pytest.TempPathFactory, case: Case) -> None:
    low = -(2 ** (case.bits - 1)) if case.signed else 0
    rng = np.random.default_rng(case.seed)
    stored = rng.integers(low, low + 2**case.bits, (case.frames, SIZE, SIZE))
    stored = stored.astype(f"{'i' if case.signed else 'u'}{case.allocated // 8}")
    path = written(tmp_path_factory.mktemp("a") / "a.dcm", case, stored)
    for number in range(case.frames):
        expected = by_the_standard(case, stored[number])
        if np.ptp(np.round(expected)) <= 2 or np.round(expected).max() <= 2:
            continue
        np.testing.assert_allclose(grey(path, number), expected, atol=1.01)
    assert f"it has {case.frames} frames" in reason(path, case.frames)
