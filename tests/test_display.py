"""How values become grey: windows by name or number, functional groups, signs, spacing, burned-in text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from dicom_files import item
from factories import CURATION, dicom, real_data
from medscreen.config.display import FILE_DISPLAY, DisplayParams, WindowParams
from medscreen.data.curation.curation import curate
from medscreen.data.dicom.frames import read_frame
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.images import load_images, save_images
from medscreen.data.load_image import read_grey, read_image
from medscreen.data.sources.records import Record

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
CT: dict[str, Any] = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
PRESETS = {"soft_tissue": (40, 400), "lung": (-600, 1500), "bone": (400, 1800), "brain": (40, 80)}


def display(window: Any, burned_in: Any = "count") -> DisplayParams:
    return DisplayParams(window=window, burned_in=burned_in)


def by_definition(values: NDArray[Any], centre: float, width: float) -> NDArray[np.uint8]:
    """LINEAR of DICOM PS3.3 C.11.2.1.2.1, case by case, to 0..255."""
    x, c, w = values.astype(float), centre - 0.5, width - 1
    inside = ((x - c) / w + 0.5) * 255
    return np.round(np.where(x <= c - w / 2, 0, np.where(x > c + w / 2, 255, inside))).astype(np.uint8)


def refusal(path: Path, how: DisplayParams = FILE_DISPLAY, frame: int | None = None) -> str:
    with pytest.raises(UnreadableImageError) as error:
        read_image(path, how, frame)
    return str(error.value)


TABLE = item(LUTDescriptor=[4096, 0, 16])
TABLE.add_new("LUTData", "OW", RAMP.tobytes())


@pytest.mark.parametrize("name", PRESETS)
def test_a_named_window_is_in_hounsfield_units(tmp_path: Path, name: str) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=9, WindowWidth=9, **CT)
    np.testing.assert_array_equal(read_grey(path, display(name)), by_definition(RAMP - 1024.0, *PRESETS[name]))


def test_a_named_window_on_monochrome1_is_inverted(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **CT)
    np.testing.assert_array_equal(read_grey(path, display("bone")), 255 - by_definition(RAMP - 1024.0, 400, 1800))


@pytest.mark.parametrize(
    ("elements", "hounsfield"),
    [
        ({"Modality": "CT"}, False),  # nobody knows what its stored values are
        ({"Modality": "CT", "RescaleSlope": 1}, False),
        ({"Modality": "CT", "RescaleIntercept": -9}, False),
        ({"Modality": "CT", "ModalityLUTSequence": Sequence([TABLE])}, True),
        ({"RescaleType": "HU"}, False),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -9, "RescaleType": "US"}, True),
        ({"RescaleSlope": 1, "RescaleIntercept": -9, "RescaleType": "HU", "Modality": "OT"}, True),
        ({"RescaleSlope": 1, "RescaleIntercept": -9}, True),
        ({"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -9, "RescaleType": "MGML"}, False),
        ({"Modality": "MR", "RescaleSlope": 1, "RescaleIntercept": 0}, False),
        ({"Modality": "CR"}, False),
        ({}, False),
    ],
)
def test_a_named_window_is_for_hounsfield_units_alone(
    tmp_path: Path, elements: dict[str, Any], hounsfield: bool
) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, **elements)
    if hounsfield:
        assert read_grey(path, display("bone")).max() > 0
    else:
        assert "by Modality, RescaleType, RescaleSlope and RescaleIntercept" in refusal(path, display("bone"))


def test_an_explicit_window_goes_before_the_files_own(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=9, WindowWidth=9, Modality="MR")
    how = display(WindowParams(center=2000, width=1000))
    np.testing.assert_array_equal(read_grey(path, how), by_definition(RAMP, 2000, 1000))


def test_percentiles_go_before_the_files_window(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=9, WindowWidth=9)
    low, high = np.percentile(RAMP, (0.5, 99.5))
    expected = np.round(np.clip((RAMP - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(read_grey(path, display("percentiles")), expected)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("kind", "stated", "limit"),
    [("uint16", 0, None), ("uint16", 0, 9), ("uint16", 9, 0), ("uint16", 4095, 3000), ("int16", -2000, -1990),
     ("int16", 63536, None)],
)  # fmt: skip
def test_padding_does_not_count_in_percentiles(
    tmp_path: Path, kind: str, stated: int, limit: int | None, syntax: str
) -> None:
    values = (RAMP // 8 + 1000).astype(kind)
    fill = np.array(stated).astype(kind).item() if stated < 0x8000 else stated - 0x10000
    values[:40] = fill if limit is None else np.linspace(fill, limit, 64).astype(kind)
    path = dicom(tmp_path / "a.dcm", values, bits=16, RescaleSlope=2, RescaleIntercept=-100)
    dataset = dcmread(path)
    for keyword, value in (("PixelPaddingValue", stated), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            dataset.add_new(keyword, "SS" if value < 0 else "US", value)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    low, high = np.percentile(values[40:] * 2.0 - 100, (0.5, 99.5))
    expected = np.round(np.clip((values * 2.0 - 100 - low) / (high - low), 0, 1) * 255)
    for window in ("file", "percentiles"):
        np.testing.assert_array_equal(read_grey(path, display(window)), expected)


@pytest.mark.parametrize(
    ("kind", "stated"),
    [("OB", b"\xff" * 9000), ("UV", 2**64 - 1), ("SV", -(2**63)), ("US", [1, 2]), ("DS", "1.5"), ("LO", "x")],
)
def test_padding_that_is_no_value_of_the_pixels_changes_nothing(tmp_path: Path, kind: str, stated: Any) -> None:
    dataset = dcmread(dicom(tmp_path / "a.dcm", RAMP.clip(1)))
    expected = read_grey(tmp_path / "a.dcm", FILE_DISPLAY)
    dataset.add_new("PixelPaddingValue", kind, stated)
    dataset.save_as(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.dcm", FILE_DISPLAY), expected)


def test_one_value_among_padding_is_the_one_that_is_shown(tmp_path: Path) -> None:
    values = np.full((64, 64), 500, np.uint16)
    values[:, :40] = 0
    values[0, 0] = 900
    grey = read_grey(dicom(tmp_path / "a.dcm", values, PixelPaddingValue=0), FILE_DISPLAY)
    assert (grey[0, 0], grey[0, 1], grey[0, 50]) == (255, 0, 0)  # from 500 to 900: padding is no extreme
    nothing_else = np.where(values == 900, 900, 0).astype(np.uint16)
    path = dicom(tmp_path / "b.dcm", nothing_else, PixelPaddingValue=0, PixelPaddingRangeLimit=900)
    assert read_grey(path, FILE_DISPLAY)[0, 0] == 255


def test_percentiles_of_reversed_values(tmp_path: Path) -> None:
    skewed = np.sort(np.random.default_rng(3).gamma(2, 300, 4096).astype(np.uint16)).reshape(64, 64)
    path = dicom(tmp_path / "a.dcm", skewed, RescaleSlope=-2.5, RescaleIntercept=7)
    values = skewed * -2.5 + 7
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.round(np.clip((values - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(read_grey(path, FILE_DISPLAY), expected)


def test_a_window_of_width_1_is_a_threshold(tmp_path: Path) -> None:
    grey = read_grey(dicom(tmp_path / "a.dcm", RAMP, WindowCenter=1000, WindowWidth=1), FILE_DISPLAY)
    np.testing.assert_array_equal(grey, np.where(RAMP > 999.5, 255, 0))


def test_an_unknown_function_is_named(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=1000, WindowWidth=9, VOILUTFunction="DOE_JANE")
    assert refusal(path) == "its VOILUTFunction is unsupported; supported: LINEAR, LINEAR_EXACT, SIGMOID"


def test_a_voi_lut_may_have_more_entries_than_its_entries_have_values(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4096, 0, 8]
    table = (RAMP.ravel() >> 4).astype("<u2")
    lut.add_new("LUTData", "OW", table.tobytes())
    path = dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=Sequence([lut]))
    np.testing.assert_array_equal(read_grey(path, FILE_DISPLAY), RAMP >> 4)


def test_a_modality_lut_may_have_entries_of_12_bits_and_begin_anywhere(tmp_path: Path) -> None:
    lut = Dataset()
    lut.LUTDescriptor = [1000, 500, 12]
    lut.add_new("LUTData", "OW", (np.arange(1000) * 4).astype("<u2").tobytes())
    path = dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=Sequence([lut]), WindowCenter=2000, WindowWidth=1000)
    values = np.clip(RAMP.astype(int) - 500, 0, 999) * 4
    np.testing.assert_array_equal(read_grey(path, FILE_DISPLAY), by_definition(values, 2000, 1000))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_sign_that_was_not_extended_is(tmp_path: Path, compressed: bool) -> None:
    # as in RSNA's abdominal CT of 2023: 12-bit signed values, the upper four bits of each word left 0
    values = RAMP.astype(np.int16) - 2048
    path = dicom(tmp_path / "a.dcm", (values.view(np.uint16) & 0x0FFF).astype(np.uint16), PixelRepresentation=1)
    if compressed:
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    np.testing.assert_array_equal(read_frame(path).stored, values)
    extended = dicom(tmp_path / "b.dcm", values, PixelRepresentation=1)
    np.testing.assert_array_equal(read_frame(extended).stored, values)
    shown = [read_grey(p, display(WindowParams(center=0, width=500))) for p in (path, extended)]
    np.testing.assert_array_equal(*shown)


@pytest.mark.parametrize(("kind", "unused"), [("uint16", 4), ("uint16", 1), ("int16", 4), ("int16", 2), ("uint32", 20)])
def test_bits_end_where_high_bit_says(tmp_path: Path, kind: str, unused: int) -> None:
    values = RAMP.astype(kind) - np.array(2048 * (kind == "int16")).astype(kind)
    noise = np.random.default_rng(2).integers(0, 2**unused, RAMP.shape).astype(kind)  # overlays once lay there
    words = (values << unused) | noise
    if kind == "int16":  # where unused bits lie above, too, nobody extended the sign
        words = (words.view(np.uint16) & ((1 << (12 + unused)) - 1)).view(np.int16)
    path = dicom(tmp_path / "a.dcm", words, HighBit=11 + unused, RescaleSlope=2, RescaleIntercept=1)
    np.testing.assert_array_equal(read_frame(path).stored, values)
    if words.itemsize == 2:  # RLE Lossless has no larger words
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
        np.testing.assert_array_equal(read_frame(path).stored, values)


@pytest.mark.parametrize(
    "elements", [{"HighBit": 16}, {"HighBit": 10}, {"HighBit": 0}, {"BitsStored": 17, "HighBit": 16}, {"BitsStored": 0}]
)
def test_bits_that_can_not_be_are_a_sentence(tmp_path: Path, elements: dict[str, int]) -> None:
    reason = refusal(dicom(tmp_path / "a.dcm", RAMP, **elements))
    assert reason == "its BitsAllocated, BitsStored and HighBit contradict each other"


FRAMES = np.stack([RAMP, RAMP[::-1], RAMP.T, RAMP // 2])


@pytest.mark.parametrize(("wanted", "shown"), [(None, 2), (0, 0), (3, 3)])
def test_the_wanted_frame_is_shown_or_the_middle_one(tmp_path: Path, wanted: int | None, shown: int) -> None:
    path = dicom(tmp_path / "a.dcm", FRAMES)
    np.testing.assert_array_equal(read_frame(path, wanted).stored, FRAMES[shown])


@pytest.mark.parametrize("wanted", [4, 99, -1])
def test_a_frame_that_is_not_there_is_a_sentence(tmp_path: Path, wanted: int) -> None:
    assert "it has 4 frames" in refusal(dicom(tmp_path / "a.dcm", FRAMES), frame=wanted)


@pytest.mark.parametrize("compressed", [False, True])
def test_of_many_frames_one_is_decoded(tmp_path: Path, compressed: bool) -> None:
    # 100,000 frames announced, four there: whoever decodes them all, or allocates them, fails
    path = dicom(tmp_path / "a.dcm", FRAMES)
    dataset = dcmread(path)
    if compressed:
        dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.NumberOfFrames = 100_000
    dataset.save_as(path)
    if compressed:  # a table of offsets says where each begins
        np.testing.assert_array_equal(read_frame(path, 3).stored, FRAMES[3])
    else:
        assert "fewer pixels" in refusal(path, frame=3 + 1)
        np.testing.assert_array_equal(read_frame(path, 3).stored, FRAMES[3])


def test_each_frame_has_its_own_rescale_and_window(tmp_path: Path) -> None:
    groups = [
        item(
            PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-100 * number)],
            FrameVOILUTSequence=[item(WindowCenter=1000, WindowWidth=500 + number)],
        )
        for number in range(4)
    ]
    shared = item(PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.6])])
    path = dicom(
        tmp_path / "a.dcm", FRAMES, SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip
    for number in range(4):
        shown = read_image(path, FILE_DISPLAY, number)
        expected = by_definition(FRAMES[number] - 100.0 * number, 1000, 500 + number)
        np.testing.assert_array_equal(shown.grey, expected)
        assert shown.spacing == (0.7, 0.6)


@pytest.mark.parametrize(
    ("elements", "spacing"),
    [
        ({"PixelSpacing": [0.5, 0.25], "ImagerPixelSpacing": [9, 9]}, (0.5, 0.25)),
        ({"ImagerPixelSpacing": [0.143, 0.143]}, (0.143, 0.143)),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [2, 3]}, (2.0, 3.0)),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_spacing_is_read(tmp_path: Path, elements: dict[str, Any], spacing: tuple[float, float] | None) -> None:
    assert read_image(dicom(tmp_path / "a.dcm", RAMP, **elements), FILE_DISPLAY).spacing == spacing


@pytest.mark.parametrize(("value", "burned"), [("YES", True), ("NO", False), (None, False)])
def test_burned_in_text_is_counted_or_refused(tmp_path: Path, value: str | None, burned: bool) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP, **({"BurnedInAnnotation": value} if value else {}))
    assert read_image(path, FILE_DISPLAY).burned_in is burned
    if burned:
        assert "BurnedInAnnotation" in refusal(path, display("file", "refuse"))
    else:
        assert read_image(path, display("file", "refuse")).burned_in is False


def test_colours_have_no_window(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    path = dicom(
        tmp_path / "a.dcm", rgb[..., 0], bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, PixelData=rgb.tobytes(), **CT,
    )  # fmt: skip
    message = refusal(path, display("lung"))
    assert "in color" in message
    assert "datasets.<name>.display.window in params.yaml to file or percentiles" in message
    assert read_grey(path, display("percentiles")).shape == (8, 8)


def test_colours_of_12_bits_reach_white(tmp_path: Path) -> None:
    rgb = np.zeros((4, 4, 3), np.uint16)
    rgb[0] = 4095
    path = dicom(
        tmp_path / "a.dcm", rgb[..., 0], SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, PixelData=rgb.tobytes(),
    )  # fmt: skip
    assert read_grey(path, FILE_DISPLAY)[0].tolist() == [255] * 4


def test_a_segmented_palette_is_read_and_never_swells(tmp_path: Path) -> None:
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    ramp = np.array([0, 2, 0, 1, 1, 254, 255], "<u1")  # two entries, then a line of 254 up to 255
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = ramp.tobytes() + b"\0"
    grey = read_grey(dicom(tmp_path / "a.dcm", index, bits=8, **palette), FILE_DISPLAY)
    np.testing.assert_allclose(grey, index, atol=1)
    swelling = np.array([0, 1, 7, *[1, 65535, 60000] * 9000], "<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        palette[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"Segmented{colour}PaletteColorLookupTableData"] = swelling
    assert read_grey(dicom(tmp_path / "b.dcm", index, bits=8, **palette), FILE_DISPLAY).shape == (16, 16)


def test_curation_keeps_spacing_counts_burned_in_text_and_says_how_it_is_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    records = []
    for number in range(40):
        elements = {"PixelSpacing": [0.5, 0.25]} if number % 4 else {}
        burned = {"BurnedInAnnotation": "YES"} if number % 10 == 0 else {}
        stored = rng.integers(0, 4096, (20, 20)).astype(np.uint16)
        path = dicom(tmp_path / f"{number:02d}.dcm", stored, **CT, **elements, **burned)
        records.append(Record(path.name, path, f"p{number}", number // 2 % 2, "x", display=display("bone")))
    params = CURATION
    curated = curate(records, 20, params, 7, 1, tmp_path / "scratch")
    assert curated.audit["burned_in"] == 4
    save_images(curated.images, curated.splits["train"], tmp_path / "train")
    train = load_images(tmp_path / "train")
    assert train.display == display("bone")
    for origin, spacing, pixels in zip(train.origins, train.spacings, train.pixels, strict=True):
        assert spacing == ((0.5, 0.25) if int(origin[:2]) % 4 else None)
        np.testing.assert_array_equal(pixels, read_grey(tmp_path / origin, display("bone")))
    assert train.take(np.array([0])).spacings == train.spacings[:1]
    strict = [Record(r.origin, r.image, r.patient, r.label, "x", display=display("bone", "refuse")) for r in records]
    audit = curate(strict, 20, params, 7, 1, tmp_path / "scratch2").audit
    assert audit["burned_in"] == 4 == len(audit["quarantined"])
    assert {entry["file"] for entry in audit["quarantined"]} == {"00.dcm", "10.dcm", "20.dcm", "30.dcm"}


def test_floating_point_pixels_are_shown(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 1e-3, (20, 30)).astype(np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    dataset = dcmread(dicom(tmp_path / "a.dcm", RAMP, PixelSpacing=[1, 2]))
    for keyword in ("PixelData", "PixelRepresentation", "BitsStored", "HighBit"):
        del dataset[keyword]
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = *values.shape, 32
    dataset.FloatPixelData = values.tobytes()
    dataset.save_as(tmp_path / "a.dcm")
    grey = read_grey(tmp_path / "a.dcm", FILE_DISPLAY)
    assert (grey[0, 0], grey[0, 1]) == (0, 255)
    order = np.argsort(values[1:].ravel())
    assert (np.diff(grey[1:].ravel()[order].astype(int)) >= 0).all()
    assert len(np.unique(grey)) > 100


@pytest.mark.parametrize(
    "settings",
    [
        {"window": "abdomen", "burned_in": "count"},
        {"window": {"center": 40.0, "width": 0.0}, "burned_in": "count"},
        {"window": {"center": 40.0}, "burned_in": "count"},
        {"window": "file", "burned_in": "blur"},
        {"window": "file"},
    ],
)
def test_a_display_that_is_none_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DisplayParams.model_validate(settings)


def test_a_record_names_its_frame(tmp_path: Path) -> None:
    volume = np.random.default_rng(1).integers(0, 4096, (40, 20, 20)).astype(np.uint16)
    path = dicom(tmp_path / "volume.dcm", volume, WindowCenter=2048, WindowWidth=4096)
    records = [Record(f"volume.dcm#{n}", path, f"p{n}", n % 2, "x", frame=n) for n in range(40)]
    params = CURATION
    images = curate(records, 20, params, 7, 1, tmp_path / "scratch").images
    for origin, pixels in zip(images.origins, images.pixels, strict=True):
        np.testing.assert_array_equal(pixels, by_definition(volume[int(origin.split("#")[1])], 2048, 4096))


def test_a_real_ct_slice_under_every_named_window() -> None:
    path = real_data("dicom", "ct_3slice_dcmqi", "01.dcm")
    values = dcmread(path).pixel_array.astype(float) - 1024
    for name, window in PRESETS.items():
        np.testing.assert_array_equal(read_grey(path, display(name)), by_definition(values, *window))
