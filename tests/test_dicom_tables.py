"""Lookup tables: the first value mapped, entries narrower or wider than declared, bytes and words, every syntax."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_files import NATIVE, RAMP, grey, linear, reason, saved, table
from factories import dicom

FULL = np.linspace(0, 65535, 4096).round().astype(int)
WIDE = np.linspace(0, 65535, 20000).round().astype(int)


def order_of(syntax: str) -> str:
    return ">" if syntax == ExplicitVRBigEndian else "<"


def shown(entries: NDArray[Any], first: int, values: NDArray[Any], white: float) -> NDArray[Any]:
    return np.round(entries[np.clip(values - first, 0, len(entries) - 1)] / white * 255)


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("sign", ["US", "SS"])
def test_the_first_value_of_a_voi_table_may_be_below_0(tmp_path: Path, syntax: str, sign: str) -> None:
    lut = table(FULL, first=-1024, sign=sign, order=order_of(syntax))
    path = saved(
        tmp_path / "a.dcm", RAMP, syntax, 12, RescaleSlope=1, RescaleIntercept=-1024, VOILUTSequence=Sequence([lut])
    )
    np.testing.assert_array_equal(grey(path), shown(FULL, -1024, RAMP.astype(int) - 1024, 65535))


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("sign", ["US", "SS"])
@pytest.mark.parametrize("signed", [False, True])
def test_the_first_value_after_a_modality_table_is_not(tmp_path: Path, syntax: str, sign: str, signed: bool) -> None:
    order = order_of(syntax)
    modality = table(FULL, sign=sign, order=order)
    voi = table(WIDE, first=40000, sign=sign, order=order)
    stored = RAMP.astype(np.int16) if signed else RAMP
    path = saved(
        tmp_path / "a.dcm", stored, syntax, 16 if signed else 12, ModalityLUTSequence=Sequence([modality]),
        VOILUTSequence=Sequence([voi]),
    )  # fmt: skip
    np.testing.assert_array_equal(grey(path), shown(WIDE, 40000, FULL[RAMP], 65535))


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("sign", ["US", "SS"])
@pytest.mark.parametrize(("first", "kind"), [(-2048, "int16"), (-3000, "int16"), (40000, "uint16"), (0, "uint16")])
def test_the_first_value_of_a_modality_table_has_the_sign_of_the_pixels(
    tmp_path: Path, syntax: str, sign: str, first: int, kind: str
) -> None:
    stored = (RAMP.astype(int) + first + (952 if first == -3000 else 0)).astype(kind)
    lut = table(np.arange(4096) * 2, first=first, sign=sign, order=order_of(syntax))
    path = saved(
        tmp_path / "a.dcm", stored, syntax, 16, ModalityLUTSequence=Sequence([lut]), WindowCenter=4000,
        WindowWidth=5000,
    )  # fmt: skip
    values = np.clip(stored.astype(int) - first, 0, 4095) * 2
    np.testing.assert_array_equal(grey(path), linear(values, 4000, 5000))


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("signed", [False, True])
def test_0_entries_are_65536(tmp_path: Path, syntax: str, signed: bool) -> None:
    entries = np.arange(65536)[::-1]
    stored = (np.arange(65536).reshape(256, 256) - 32768 * signed).astype(np.int16 if signed else np.uint16)
    lut = table(entries, first=-32768 if signed else 0, order=order_of(syntax))
    assert lut.LUTDescriptor[0] == 0
    path = saved(tmp_path / "a.dcm", stored, syntax, 16, VOILUTSequence=Sequence([lut]))
    expected = shown(entries, 0, stored.astype(int) + 32768 * signed, 65535)
    np.testing.assert_array_equal(grey(path), expected)


@pytest.mark.parametrize(
    ("bits", "largest", "white"),
    [
        (16, 4095, 4095), (16, 255, 255), (16, 1000, 1000), (12, 4095, 4095), (12, 255, 255), (12, 3000, 4095),
        (10, 1023, 1023), (8, 255, 255), (8, 4095, 4095), (8, 65535, 65535), (16, 65535, 65535), (16, 40000, 65535),
        (16, 2, 2), (0, 4095, 4095), (99, 65535, 65535),
    ],
)  # fmt: skip
def test_white_is_the_largest_entry_where_the_table_is_not_as_wide_as_declared(
    tmp_path: Path, bits: int, largest: int, white: int
) -> None:
    entries = np.linspace(0, largest, 4096).round().astype(int)
    path = dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([table(entries, bits=bits)]))
    np.testing.assert_array_equal(grey(path), shown(entries, 0, RAMP, white))


def with_data(number: int, bits: int, kind: str, data: Any) -> Dataset:
    lut = Dataset()
    lut.LUTDescriptor = [number, 0, bits]
    lut.add_new("LUTData", kind, data)
    return lut


BYTES = (np.arange(256) ** 2 // 255).astype(np.uint8)
ODD = np.array([0, 255, 100], np.uint8)


def packed(values: NDArray[np.uint8], syntax: str) -> bytes:
    """Two entries a word, the first one in its lower byte."""
    content = values.tobytes() + b"\0" * (len(values) % 2)
    words = np.frombuffer(content, "<u2")
    return words.astype(f"{order_of(syntax)}u2").tobytes()


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("way", ["packed OW", "packed US", "OW", "US"])
@pytest.mark.parametrize("entries", [BYTES, ODD])
def test_entries_of_8_bits_are_bytes_or_words(
    tmp_path: Path, syntax: str, way: str, entries: NDArray[np.uint8]
) -> None:
    number = len(entries)
    lut = {
        "packed OW": lambda: with_data(number, 8, "OW", packed(entries, syntax)),
        "packed US": lambda: with_data(number, 8, "US", np.frombuffer(packed(entries, ""), "<u2").tolist()),
        "OW": lambda: with_data(number, 8, "OW", entries.astype(f"{order_of(syntax)}u2").tobytes()),
        "US": lambda: with_data(number, 8, "US", entries.tolist()),
    }[way]()
    stored = (RAMP % 300).astype(np.uint16)
    path = saved(tmp_path / "a.dcm", stored, syntax, 12, VOILUTSequence=Sequence([lut]))
    np.testing.assert_array_equal(grey(path), entries[np.clip(stored, 0, number - 1)])


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("kind", ["OW", "US"])
def test_words_are_in_the_order_of_the_file(tmp_path: Path, syntax: str, kind: str) -> None:
    lut = table(FULL, kind=kind, order=order_of(syntax))
    path = saved(tmp_path / "a.dcm", RAMP, syntax, 12, VOILUTSequence=Sequence([lut]))
    np.testing.assert_array_equal(grey(path), shown(FULL, 0, RAMP, 65535))


@pytest.mark.parametrize(
    ("number", "bits", "kind", "length"),
    [(4096, 16, "OW", 8190), (4096, 16, "OW", 6000), (4096, 8, "OW", 4094), (4096, 8, "OW", 4100), (4096, 16, "OW", 0)],
)
def test_fewer_entries_than_declared_are_named(tmp_path: Path, number: int, bits: int, kind: str, length: int) -> None:
    lut = with_data(number, bits, kind, bytes(length))
    message = reason(dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([lut])))
    assert "of its header" in message
    assert "lookup table" in message or "table in VOILUTSequence" in message


def test_more_entries_than_declared_are_not_used(tmp_path: Path) -> None:
    entries = np.concatenate([np.arange(1000), np.full(3096, 60000)])
    lut = table(entries)
    lut.LUTDescriptor = [1000, 0, 16]
    path = dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([lut]))
    np.testing.assert_array_equal(grey(path), shown(np.arange(1000), 0, RAMP, 999))


@pytest.mark.parametrize("described", [[4096, 0], [4096], None])
def test_a_malformed_descriptor_is_named(tmp_path: Path, described: Any) -> None:
    lut = table(FULL)
    lut.LUTDescriptor = described
    assert "of its header" in reason(dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([lut])))


def test_of_several_tables_the_first_is_used(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([table(FULL), table(FULL[::-1])]))
    np.testing.assert_array_equal(grey(path), shown(FULL, 0, RAMP, 65535))


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(300, 6000), begin=st.integers(-1000, 3500), intercept=st.integers(-3000, 3000),
    declared=st.sampled_from(["US", "SS"]), syntax=st.sampled_from([ImplicitVRLittleEndian, ExplicitVRLittleEndian]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_table_that_begins_near_the_values_maps_them_under_any_representation(
    tmp_path_factory: pytest.TempPathFactory, number: int, begin: int, intercept: int, declared: str, syntax: str,
    seed: int,
) -> None:  # fmt: skip
    entries = np.random.default_rng(seed).integers(0, 4096, number)
    entries[0], entries[-1] = 0, 4095
    first = begin + intercept
    path = saved(
        tmp_path_factory.mktemp("a") / "a.dcm", RAMP, syntax, 12, RescaleSlope=1, RescaleIntercept=intercept,
        VOILUTSequence=Sequence([table(entries, first=first, bits=12, sign=declared)]),
    )  # fmt: skip
    values = RAMP.astype(int) + intercept
    expected = shown(entries, first, values, 4095)
    if first + number <= values.min() or first > values.max() or expected.min() == expected.max():
        return
    np.testing.assert_array_equal(grey(path), expected)
