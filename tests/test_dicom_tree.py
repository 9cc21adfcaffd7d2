from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from factories import one_sentence, real_data, written
from medscreen.config.datasets import DicomParams
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.dicom.series import SeriesHeader, read_series_header
from medscreen.data.load_image import read_image
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.records import Records
from medscreen.data.sources.slice_selection import in_order
from medscreen.errors import MedscreenError

DICOM: dict[str, Any] = {
    "kind": "dicom", "root": "export", "image_size": 16, "table": "train.csv", "images": "films",
    "columns": {"patient": "who", "label": "hurt", "file": None}, "normal_labels": [0], "slices": {"take": "all"},
    "attributes": {}, "display": {"window": "file", "burned_in": "count"},
}  # fmt: skip
BY_FILE = {"columns": {"patient": "who", "label": "hurt", "file": "path"}}
AXIAL = [1, 0, 0, 0, 1, 0]


def slice_file(path: Path, frames: int = 1, **header: Any) -> Path:
    """A CT slice with these header values."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = header.pop("syntax", ExplicitVRLittleEndian)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = header.pop("series", "1.2.3")
    for name, value in header.items():
        setattr(dataset, name, value)
    pixels = np.random.default_rng(1).integers(0, 4000, (frames, 8, 8)).astype(np.uint16)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 8, 8, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def export(root: Path, table: str = "who,hurt\nA1,0\nB2,1\n", **files: dict[str, Any]) -> Path:
    """A tree with a table and a slice for each patient."""
    written(root / "train.csv", table)
    for patient in ("A1", "B2"):
        slice_file(root / "films" / patient / "1.dcm")
    return root


def records_of(root: Path, **changed: Any) -> Records:
    return sources.read_records(DicomParams(**DICOM | changed), root)


def refusal(root: Path, **changed: Any) -> str:
    with pytest.raises(MedscreenError) as error:
        records_of(root, **changed)
    return one_sentence(error)


def test_folders_say_whose_images_they_are(tmp_path: Path) -> None:
    root = export(tmp_path)
    slice_file(root / "films" / "A1" / "deep" / "noextension")
    records = records_of(root)
    assert [(r.origin, r.patient, r.label, r.finding, r.split, r.frame) for r in records] == [
        ("films/A1/1.dcm", "A1", 0, "0", None, None),
        ("films/A1/deep/noextension", "A1", 0, "0", None, None),
        ("films/B2/1.dcm", "B2", 1, "1", None, None),
    ]
    assert records.notes == {}
    assert sources.find_files(DicomParams(**DICOM), root, 1) == [
        *(root / record.origin for record in records), root / "train.csv"
    ]  # fmt: skip


def test_a_file_column_names_the_images(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt,path,age\nA1,1,A1/1.dcm,61\nA1,0,B2/1.dcm,\n")
    records = records_of(root, **BY_FILE, attributes={"age": "age"})
    assert [(r.origin, r.patient, r.label, r.attributes) for r in records] == [
        ("films/A1/1.dcm", "A1", 1, {"age": "61"}),
        ("films/B2/1.dcm", "A1", 0, {}),
    ]
    assert records.notes == {}
    slice_file(root / "films" / "C3" / "1.dcm")
    assert records_of(root, **BY_FILE).notes == {"files without a row in the table": 1}


def test_what_fits_nothing_is_counted_without_a_name(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt\nA1,0\nA1,0.0\nB2,1\nGONE,1\n")
    slice_file(root / "films" / "STRANGER" / "1.dcm")
    written(root / "films" / "A1" / "readme.txt", "none")
    written(root / "films" / "A1" / "Thumbs.db", "none")
    records = records_of(root)
    assert [record.patient for record in records] == ["A1", "B2"]
    assert records.notes == {
        "rows that repeat another": 1,
        "patients' folders without a row in the table": 1,
        "patients of the table without images": 1,
        "files that are not DICOM": 1,
        "Thumbs.db": 1,
    }


def test_a_damaged_file_stays_a_record_so_that_it_is_named(tmp_path: Path) -> None:
    root = export(tmp_path)
    written(root / "films" / "A1" / "2.dcm", "<html>moved</html>")
    whole = (root / "films" / "A1" / "1.dcm").read_bytes()
    written(root / "films" / "A1" / "3", whole[:200])
    assert [r.origin for r in records_of(root, slices={"take": "middle"})] == [
        "films/A1/1.dcm", "films/A1/2.dcm", "films/A1/3", "films/B2/1.dcm",
    ]  # fmt: skip


def names(root: Path, **changed: Any) -> list[tuple[str, int | None]]:
    return [(Path(r.origin).name, r.frame) for r in records_of(root, **changed) if r.patient == "A1"]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Five slices whose order by position is none of that by number or by name."""
    root = export(tmp_path)
    (root / "films" / "A1" / "1.dcm").unlink()
    for name, place, number in (("a", 30, 1), ("b", 10, 5), ("c", 50, 2), ("d", 20, 3), ("e", 40, 4)):
        position = {"ImagePositionPatient": [5, 5, place], "ImageOrientationPatient": AXIAL}
        slice_file(root / "films" / "A1" / name, InstanceNumber=number, **position)
    return root


def test_slices_lie_along_the_normal(series: Path) -> None:
    assert names(series, slices={"take": "middle"}) == [("a", None)]  # b d a e c
    assert names(series, slices={"take": "spaced", "number": 2}) == [("d", None), ("e", None)]
    assert len(names(series, slices={"take": "spaced", "number": 9})) == 5
    assert records_of(series, slices={"take": "middle"}).notes == {"slices of series that were not taken": 4}


def test_without_a_position_the_instance_number_counts_and_then_the_name(series: Path) -> None:
    slice_file(series / "films" / "A1" / "a", InstanceNumber=1)
    assert names(series, slices={"take": "middle"}) == [("d", None)]  # a c d e b
    slice_file(series / "films" / "A1" / "a")
    assert names(series, slices={"take": "middle"}) == [("c", None)]
    header = SeriesHeader()
    listed = in_order([(Path(name), header) for name in ("10.dcm", "9.dcm", "1.dcm")])
    assert [path.name for path, _ in listed] == ["1.dcm", "9.dcm", "10.dcm"]


def test_slices_that_lie_across_each_other_are_no_stack(series: Path) -> None:
    sagittal = {"ImagePositionPatient": [5, 5, 30], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    slice_file(series / "films" / "A1" / "a", InstanceNumber=1, **sagittal)
    assert names(series, slices={"take": "middle"}) == [("d", None)]


def test_series_are_told_apart_within_a_folder_and_across_patients(tmp_path: Path) -> None:
    root = export(tmp_path)
    for number in range(3):
        slice_file(root / "films" / "A1" / f"other{number}", series="1.2.9", InstanceNumber=number)
    assert names(root, slices={"take": "middle"}) == [("1.dcm", None), ("other1", None)]
    assert len(records_of(root, slices={"take": "middle"})) == 3


def test_frames_of_a_file_count_as_slices(tmp_path: Path) -> None:
    root = export(tmp_path)
    slice_file(root / "films" / "A1" / "1.dcm", frames=5)
    assert names(root, slices={"take": "middle"}) == [("1.dcm#2", 2)]
    assert names(root) == [(f"1.dcm#{i}", i) for i in range(5)]
    assert names(root, slices={"take": "spaced", "number": 2}) == [("1.dcm#1", 1), ("1.dcm#3", 3)]


@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")  # pydicom, of what is written here on purpose
def test_senseless_header_values_are_none(tmp_path: Path) -> None:
    root = export(tmp_path)
    path = slice_file(root / "films" / "A1" / "1.dcm", ImagePositionPatient=["1", "2"], ImageOrientationPatient=[0] * 6)
    dataset = path.read_bytes()
    written(path, dataset.replace(b"1.2.3\0", b"\xff\xfe\xfd\xfc\xfb\xfa"))
    slice_file(root / "films" / "A1" / "2.dcm", NumberOfFrames=2_000_000_000)
    slice_file(root / "films" / "A1" / "3.dcm", NumberOfFrames=-3)
    assert len(names(root)) == 3


def test_a_deflated_header_is_read(tmp_path: Path) -> None:
    path = slice_file(tmp_path / "x", syntax=DeflatedExplicitVRLittleEndian, frames=3, InstanceNumber=7)
    assert read_series_header(path) == SeriesHeader(series="1.2.3", frames=(0, 1, 2), number=7)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("who,hurt\nA1,0\nB2,1\nA1,1\n", "line 4: it contradicts line 2"),
        ("who,hurt\n,0\n", "without a who (line 2)"),
        ("who,hurt\nA1,0\nB2\n", "line 3: it has 1 cells where line 1, the header, has 2"),
        ("who,hurt\n", "no row below it"),
        ("", "no column 'who'"),
        ("who;hurt\nA1;0\n", "separated by commas, not by semicolons"),
        ("name,hurt\nA1,0\n", "no column 'who'"),
        ("who,hurt,who\nA1,0,A1\n", "two columns 'who'"),
        ("who,hurt\nA1,1\nB2,2\n", "the label 0 in column 'hurt'"),
        ("who,hurt\nX9,0\n", "No patient of"),
        ("who,hurt\nMüller,0\n".encode("latin-1"), "not UTF-8 text"),
        ("who,hurt\nA1,0\n".encode("utf-16"), "is UTF-16, not UTF-8 text"),
        ("who,hurt\nA1,0\n".encode("utf-16-le"), "line 1: it holds NUL characters"),
        ('who,hurt\n"A1,' + "0" * 200_000, "invalid CSV from line 2 on (field larger than field limit (131072))"),
    ],
)
def test_a_table_that_does_not_fit_is_a_sentence(tmp_path: Path, table: str | bytes, says: str) -> None:
    root = export(tmp_path)
    written(root / "train.csv", table)
    message = refusal(root)
    assert says in message
    assert not {"A1", "B2", "X9", "Müller"} & set(message.replace(",", " ").replace("'", " ").split())


def with_traps(tmp_path: Path, name: str) -> Path:
    """An export whose table has a row for `name` between two of files, beside a file that is not of it."""
    root = export(
        tmp_path / "tree", f"who,hurt,path\nA1,0,A1/1.dcm\nA1,0,{name.format(root=tmp_path)}\nB2,1,B2/1.dcm\n"
    )
    slice_file(tmp_path / "secret.dcm")
    (root / "films" / "A1" / "link.dcm").symlink_to(tmp_path / "secret.dcm")
    (root / "films" / "A1" / "circle").symlink_to("circle")
    return root


@pytest.mark.parametrize(
    "name",
    ["../../secret.dcm", "../gone.dcm", "{root}/secret.dcm", "/etc/passwd", "/etc/gone", "A1/link.dcm", "C:\\x.dcm"],
)
def test_a_file_column_that_leads_elsewhere_is_a_sentence(tmp_path: Path, name: str) -> None:
    message = refusal(with_traps(tmp_path, name), **BY_FILE)
    assert "line 3: its path leads out of" in message
    assert "secret" not in message


@pytest.mark.parametrize("name", ["A1", "A1/gone.dcm", "A1/" + "x" * 5000, "A1/circle", "~/x", "A1/.hid"])
def test_rows_whose_file_is_missing_are_counted(tmp_path: Path, name: str) -> None:
    root = with_traps(tmp_path, name)
    slice_file(root / "films" / "A1" / ".hid")  # which no stage lists among the data set's files
    records = records_of(root, **BY_FILE)
    assert [record.origin for record in records] == ["films/A1/1.dcm", "films/B2/1.dcm"]
    assert records.notes["rows of the table whose file is missing"] == 1
    written(root / "train.csv", f"who,hurt,path\nA1,0,{name}\n")
    assert "No row of" in refusal(root, **BY_FILE)


def test_a_row_is_an_image_and_slices_choose_among_its_frames(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt,path\nA1,0,A1/1.dcm\nA1,0,A1/2.dcm\nA1,1,A1/3.dcm\nB2,1,B2/1.dcm\n")
    slice_file(root / "films" / "A1" / "2.dcm", frames=5)  # of the same series as the others
    slice_file(root / "films" / "A1" / "3.dcm")
    assert names(root, slices={"take": "middle"}, **BY_FILE) == [("1.dcm", None), ("2.dcm#2", 2), ("3.dcm", None)]
    two = names(root, slices={"take": "spaced", "number": 2}, **BY_FILE)
    assert two == [("1.dcm", None), ("2.dcm#1", 1), ("2.dcm#3", 3), ("3.dcm", None)]
    assert records_of(root, slices={"take": "middle"}, **BY_FILE).notes == {"slices of series that were not taken": 4}


def test_files_without_a_series_are_one_with_those_of_their_folder(tmp_path: Path) -> None:
    root = export(tmp_path)
    for number in range(1, 4):
        slice_file(root / "films" / "A1" / "ct" / f"{number}.dcm", series="", InstanceNumber=number)
        slice_file(root / "films" / "A1" / "mr" / f"{number}.dcm", series="", InstanceNumber=number)
    written(root / "films" / "A1" / "ct" / "broken.dcm", "<html>moved</html>")  # stays one, so that it is named
    assert [name for name, _ in names(root, slices={"take": "middle"})] == ["1.dcm", "2.dcm", "broken.dcm", "2.dcm"]


def test_pictures_among_dicom_are_counted_and_alone_are_a_sentence(tmp_path: Path) -> None:
    root = export(tmp_path)
    for path in ("A1/1.dcm", "B2/1.dcm"):
        (root / "films" / path).unlink()
        Image.new("L", (4, 4)).save(root / "films" / path.replace("dcm", "png"))
    written(root / "films" / "B2" / "report.pdf", "%PDF-1.7")
    message = refusal(root)
    assert "holds 3 files of the table's patients, none of them DICOM (2 pictures, 1 others)" in message
    slice_file(root / "films" / "A1" / "2.dcm")
    assert records_of(root).notes == {"files that are not DICOM": 3}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("meta", [True, False])
def test_dicom_without_a_preamble_is_read(tmp_path: Path, syntax: str, meta: bool) -> None:
    root = export(tmp_path)
    path = slice_file(root / "films" / "A1" / "old", series="1.2.9", syntax=syntax, InstanceNumber=3)
    expected, whole = read_image(path, FILE_DISPLAY).grey, path.read_bytes()
    start = whole.index(b"\x08\0\x16\0")  # the first element behind the meta information
    written(path, whole[132:] if meta else whole[start:])
    assert read_series_header(path) == SeriesHeader(series="1.2.9", number=3)
    assert "films/A1/old" in {record.origin for record in records_of(root)}
    np.testing.assert_array_equal(read_image(path, FILE_DISPLAY).grey, expected)


@pytest.mark.parametrize("content", [b"\x08\0\x05\0CS\0\0", b"\x08\0\x16\0\x02\0\0\0ab" * 30, b"\x02\0\0\0UL\4\0" * 9])
def test_what_begins_as_dicom_without_a_preamble_and_has_no_pixels_is_none(tmp_path: Path, content: bytes) -> None:
    root = export(tmp_path)
    path = written(root / "films" / "A1" / "odd", content)
    assert read_series_header(path) is None
    assert records_of(root).notes == {"files that are not DICOM": 1}


def test_two_spellings_of_a_file_are_one(tmp_path: Path) -> None:
    rows = "who,hurt,path\nA1,0,A1/1.dcm\nA1,0,A1/../A1//1.dcm\n"
    records = records_of(export(tmp_path, rows), **BY_FILE)
    assert len(records) == 1
    written(tmp_path / "train.csv", rows + "B2,0,A1/./1.dcm\n")
    assert "line 4: it contradicts line 2" in refusal(tmp_path, **BY_FILE)


def test_what_is_missing_is_a_sentence(tmp_path: Path) -> None:
    root = export(tmp_path)
    for lost, says in ((root / "train.csv", "train.csv is missing"), (root / "films", "films holds no file")):
        lost.rename(tmp_path / "away")
        with pytest.raises(MedscreenError, match=says) as error:
            sources.find_files(DicomParams(**DICOM), root, 1)
        one_sentence(error)
        (tmp_path / "away").rename(lost)


def test_the_standin_for_rsna_2023() -> None:
    root = real_data("rsna_layout_standin")
    named = {"columns": {"patient": "patient_id", "label": "any_injury", "file": None}, "images": "train_images"}
    records = records_of(root, **named, slices={"take": "middle"})
    assert len(records) == 12
    assert {record.patient for record in records if record.label} == {"10005", "10026", "10065", "10097", "10126"}
    assert "train_images/10004/26446/235.dcm" in {record.origin for record in records}
    assert len(records_of(root, **named)) == 66


def test_labels_are_one_in_all_spellings_and_named_as_the_first_line_has_them(tmp_path: Path) -> None:
    root = export(
        tmp_path,
        "Who ,HU\u200bRT\nA1,Unauff\u00e4llig\nB2, unauffa\u0308llig\u00a0\nC3,Pneumonie\nD4,PNEU\u00adMONIE\n",
    )
    for patient in ("C3", "D4"):
        slice_file(root / "films" / patient / "1.dcm")
    records = records_of(root, normal_labels=["unauff\u00e4llig\u200b"])
    assert [(record.label, record.finding) for record in records] == [
        (0, "Unauff\u00e4llig"), (0, "Unauff\u00e4llig"), (1, "Pneumonie"), (1, "Pneumonie"),
    ]  # fmt: skip


def test_a_patients_folder_is_found_in_another_spelling(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt\nJ\u00f6rg,0\nA1,0\nb2,1\n")
    slice_file(root / "films" / "Jo\u0308rg" / "1.dcm")
    records = records_of(root)
    assert {(record.patient, record.label) for record in records} == {("J\u00f6rg", 0), ("A1", 0), ("b2", 1)}
    assert records.notes == {}
    written(root / "train.csv", "who,hurt\nJ\u00f6rg,0\nA1,0\nB2,1\nJO\u0308RG,1\n")
    assert "line 5: it contradicts line 2" in refusal(root)


@pytest.mark.parametrize("label", ["NA", "nan", "unknown", "?", "-1", "normal", "False", "0.5", "O"])
def test_a_label_that_can_not_be_taken_as_one_is_refused_by_its_lines(tmp_path: Path, label: str) -> None:
    rows = "".join(f"P{number},{label if number > 2 else number % 2}\n" for number in range(10))
    root = tmp_path
    written(root / "train.csv", f"who,hurt\n{rows}GONE,{label}\n")
    for number in range(10):
        slice_file(root / "films" / f"P{number}" / "1.dcm")
    message = refusal(root)
    assert "train.csv, lines 5, 6, 7, 8, 9 and 2 more: its hurt " in message
    assert "name it in normal_labels" in message
    records = records_of(root, normal_labels=[0, label])
    assert [record.label for record in records] == [0, 1, 0] + [0] * 7


@pytest.mark.parametrize("cell", ["", "  ", "\u200b", "\u00a0\ufeff"])
def test_a_cell_with_nothing_to_see_is_empty(tmp_path: Path, cell: str) -> None:
    assert "without a hurt (line 3)" in refusal(export(tmp_path, f"who,hurt\nA1,0\nB2,{cell}\n"))


@pytest.mark.parametrize("normal", [[""], ["", "0"]])
def test_an_empty_cell_is_normal_where_the_settings_name_it(tmp_path: Path, normal: list[str]) -> None:
    root = export(tmp_path, "who,hurt\nA1,\u200b \nB2,1.0\nC3,0.0\nD4,1\n")
    for patient in ("C3", "D4"):
        slice_file(root / "films" / patient / "1.dcm")
    records = records_of(root, normal_labels=normal)
    assert [(record.label, record.finding) for record in records] == [
        (0, "(empty)"), (1, "1.0"), (int("0" not in normal), "0.0"), (1, "1.0"),
    ]  # fmt: skip
    written(root / "train.csv", "who,hurt\nA1,\nB2,1.0\nC3,NA\n")
    assert "line 4: its hurt stands for a missing value" in refusal(root, normal_labels=[""])


@pytest.mark.parametrize("patient", ["NA", "nan", "unknown", "?", "-", "None", "-1", "N/A"])
def test_a_patient_that_stands_for_a_missing_one_is_refused_by_its_lines(tmp_path: Path, patient: str) -> None:
    root = export(tmp_path, f"who,hurt,path\n{patient},0,A1/1.dcm\n{patient},1,B2/1.dcm\nNA,1,gone.dcm\n")
    assert "lines 2 and 3: its who stands for a missing value, and would count as one" in refusal(root, **BY_FILE)


def test_a_normal_label_of_missing_files_alone_is_told_with_their_number(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt,path\nA1,1,A1/1.dcm\nB2,1,B2/1.dcm\nC3,0,C3/1.dcm\nD4,0,D4/1.dcm\n")
    message = refusal(root, **BY_FILE)
    assert (
        "put the missing files there (2 rows of the table whose file is missing), or correct normal_labels" in message
    )
    assert "(2 patients of the table without images)" in refusal(root)
    written(root / "train.csv", "who,hurt,path\nA1,1,A1/1.dcm\nB2,1,B2/1.dcm\n")
    assert "which has 1 other values for them; correct normal_labels" in refusal(root, **BY_FILE)


@pytest.mark.parametrize("suffix", [".dcm", ".dicom", ".DCM"])
def test_a_file_is_found_by_its_name_without_the_suffix(tmp_path: Path, suffix: str) -> None:
    root = export(tmp_path, "who,hurt,path\nA1,0,A1/1.2.840.5\nB2,1,B2/1.2.840.6\nC3,1,../train.csv\n")
    for name in ("A1/1.2.840.5", "B2/1.2.840.6"):
        slice_file(root / "films" / (name + suffix))
    assert "line 4: its path leads out of" in refusal(root, **BY_FILE)
    written(root / "train.csv", "who,hurt,path\nA1,0,A1/1.2.840.5\nB2,1,B2/1.2.840.6\n")
    assert [record.origin for record in records_of(root, **BY_FILE)] == [
        f"films/A1/1.2.840.5{suffix}", f"films/B2/1.2.840.6{suffix}",
    ]  # fmt: skip
    slice_file(root / "films" / "A1" / "1.2.840.5")  # the very name comes first
    assert records_of(root, **BY_FILE)[0].origin == "films/A1/1.2.840.5"


def test_a_patient_within_anothers_folder_is_counted(tmp_path: Path) -> None:
    root = export(tmp_path, "who,hurt\nA1,0\nB2,1\nC3,1\n")
    slice_file(root / "films" / "A1" / "c3" / "1.dcm")
    slice_file(root / "films" / "A1" / "B2" / "1.dcm")  # a series called like a patient that has a folder
    assert records_of(root).notes == {
        "files in a folder named like a patient without one, within another patient's": 1,
        "patients of the table without images": 1,
    }


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_file_is_found_in_either_form_of_its_name(tmp_path: Path, on_disk: Any, in_table: Any) -> None:
    root = export(tmp_path, f"who,hurt,path\nA1,0,{normalize(in_table, 'Aufnahmen für/1.dcm')}\nB2,1,B2/1.dcm\n")
    slice_file(root / "films" / normalize(on_disk, "Aufnahmen für") / "1.dcm")
    records = records_of(root, **BY_FILE)
    assert [record.patient for record in records] == ["A1", "B2"]
    assert records.notes == {"files without a row in the table": 1}
