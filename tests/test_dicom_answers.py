"""Answers in DICOM: what stands in them, and what dciodvfy, dsrdump and dicom-validator find in them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_files import item, saved
from dicom_judges import dciodvfy, dicom_validator, report_text
from factories import dicom, real_data, unstated
from medscreen.packaging.screened_files import OUTSIDE, ImageOfFile, ScreenedImage
from medscreen.registry.dicom_answers import dicom_answers
from medscreen.reporting.case_report import ReportedVersion
from medscreen.reporting.dicom_answers.instance import encoded
from medscreen.reporting.dicom_answers.secondary_capture import overlay, secondary_capture
from medscreen.reporting.dicom_answers.source import EMPTY_IF_MISSING, NoAnswerError, Source, read_source
from medscreen.reporting.dicom_answers.structured_report import structured_report

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")
DIGEST = "0123456789abcdef" * 2
VERSION = ReportedVersion("films-detector", 3, "Production", "whole", DIGEST, "", {"threshold": 0.25})
STUDY, SERIES, INSTANCE = "1.2.826.0.1.5", "1.2.826.0.1.5.1", "1.2.826.0.1.5.1.1"
CR, MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.7.2"
PATIENT = {
    "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": INSTANCE, "SOPClassUID": CR,
    "PatientName": "Doe^Jane", "PatientID": "P-1", "PatientBirthDate": "19700101", "PatientSex": "F",
    "StudyDate": "20200102", "StudyTime": "101112", "StudyID": "S1", "AccessionNumber": "A-1",
    "ReferringPhysicianName": "Ref^Erring", "StudyDescription": "CHEST PA", "PatientAge": "050Y", "Modality": "CR",
    "InstanceNumber": 4, "PatientOrientation": ["L", "F"],
    "OtherPatientIDsSequence": [item(PatientID="old", TypeOfPatientID="TEXT")],
}  # fmt: skip
OTHER_THAN_PATIENT = ("Modality", "InstanceNumber", "PatientOrientation", "SOPClassUID", "SOPInstanceUID")
LOSSY = {
    "LossyImageCompression": "01", "LossyImageCompressionRatio": 12, "LossyImageCompressionMethod": "ISO_10918_1",
}  # fmt: skip
PIXELS = np.random.default_rng(1).integers(0, 256, (32, 32)).astype(np.uint8)
MAP = np.zeros((32, 32), np.float32)
MAP[4:8, 20:26] = 1.5


def source_file(path: Path, stored: np.ndarray = PIXELS, **elements: Any) -> Path:
    return dicom(path, stored, bits=8, **PATIENT | elements)


def found(path: Path, frame: int | None = None, **values: Any) -> ScreenedImage:
    result = ScreenedImage(ImageOfFile(path, frame, 0), 0.75, 0.0625, 0.875, True, False, False, True, "", "abnormal")
    return replace(result, **values)


def picture_of(image: ScreenedImage, square: np.ndarray = PIXELS, caveat: str = "") -> np.ndarray:
    return overlay(image, square, MAP, VERSION, ("log odds", caveat))


def written(folder: Path, answer: Dataset) -> Path:
    path = folder / f"{answer.Modality}-{answer.SOPInstanceUID}.dcm"
    path.write_bytes(encoded(answer))
    return path


def answers(folder: Path, path: Path, *images: ScreenedImage) -> tuple[Dataset, list[Dataset]]:
    """The report and the captures as another program reads them."""
    source = read_source(path)
    made = [structured_report(source, [(image, "") for image in images], VERSION)]
    made += [secondary_capture(source, image, VERSION, picture_of(image)) for image in images]
    report, *captures = (dcmread(written(folder, answer)) for answer in made)
    return report, captures


def items(node: Dataset) -> Iterator[Dataset]:
    for child in node.get("ContentSequence", []):
        yield child
        yield from items(child)


def values(report: Dataset) -> dict[str, list[Any]]:
    """Meaning -> values of the content items."""
    collected: dict[str, list[Any]] = {}
    for node in items(report):
        meaning = node.ConceptNameCodeSequence[0].CodeMeaning
        if node.ValueType == "NUM":
            value: Any = float(node.MeasuredValueSequence[0].NumericValue)
        elif node.ValueType == "CODE":
            value = node.ConceptCodeSequence[0].CodeValue
        else:
            value = node.get("TextValue") or node.get("UID") or node.get("ReferencedSOPSequence")
        collected.setdefault(meaning, []).append(value)
    return collected


def test_a_models_name_is_written_in_any_character_set(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    no_map = SimpleNamespace(map_of=lambda _: (None, "no map"))
    version = SimpleNamespace(reported=replace(VERSION, model="füße"), explained=no_map)
    (report,) = dicom_answers(cast("Any", version), read_source(path), [(found(path), PIXELS)])
    assert report.ManufacturerModelName == "f??e version 3 (whole)"
    assert "ü".encode() not in encoded(report)


def test_a_report_states_result_version_and_image(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    report, (capture,) = answers(tmp_path, path, found(path))
    stated = values(report)
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert stated["Abnormality score"] == [0.75]
    assert stated["Conformal p-value against healthy images"] == [0.0625]
    assert stated["Calibrated probability of being abnormal"] == [0.875]
    assert stated["Normality"] == ["263654008"]
    assert "Deferral" not in stated
    assert stated["Algorithm Name"] == ["medscreen films-detector (whole)"]
    assert stated["Algorithm Version"] == ["3"]
    assert stated["Algorithm Parameters"] == [f"package digest {DIGEST}", "threshold of the score 0.25"]
    assert stated["Comment"] == ["RESEARCH USE ONLY, never diagnosis."]
    (reference,) = stated["Source of Measurement"][0]
    assert (reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID) == (CR, INSTANCE)
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == STUDY
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == INSTANCE
    for answer in (report, capture):
        assert "RESEARCH USE ONLY" in answer.SeriesDescription
        assert answer.ContentQualification == "RESEARCH"
        assert (answer.Manufacturer, answer.DeviceSerialNumber) == ("medscreen", DIGEST)
        assert answer.ManufacturerModelName == "films-detector version 3 (whole)"
        assert answer.InstanceNumber == 4


@pytest.mark.parametrize(
    ("changes", "normality", "probability", "deferral"),
    [
        ({"abnormal": False}, "17621005", True, False),
        ({"deferred": True}, "263654008", True, True),
        ({"in_domain": None}, "263654008", True, False),
        ({"in_domain": False, "deferred": True, "called": OUTSIDE}, "outside", False, False),
    ],
)
def test_outside_the_domain_there_is_no_decision_and_no_probability(
    tmp_path: Path, changes: dict[str, Any], normality: str, probability: bool, deferral: bool
) -> None:
    path = source_file(tmp_path / "film.dcm")
    report, _ = answers(tmp_path, path, found(path, **changes))
    stated = values(report)
    assert stated["Normality"] == [normality]
    assert ("Calibrated probability of being abnormal" in stated) == probability
    assert (stated.get("Deferral") == ["reader"]) == deferral
    assert stated["Abnormality score"] == [0.75]


def test_answers_lie_in_the_study_in_series_of_their_own(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    before = path.read_bytes()
    report, (capture,) = answers(tmp_path, path, found(path))
    source = dcmread(path)
    for answer in (report, capture):
        for keyword in PATIENT.keys() - set(OTHER_THAN_PATIENT) - {"SeriesInstanceUID"}:
            assert answer[keyword].value == source[keyword].value, keyword
    uids = [uid for answer in (source, report, capture) for uid in (answer.SeriesInstanceUID, answer.SOPInstanceUID)]
    assert len(set(uids)) == 6
    assert all(uid.is_valid for uid in uids)
    assert path.read_bytes() == before


def test_the_same_image_and_package_have_the_same_uids_and_no_others(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    other = source_file(tmp_path / "other.dcm", SOPInstanceUID=f"{INSTANCE}.2")

    def uids(of: Path, version: ReportedVersion = VERSION, frame: int | None = None) -> tuple[str, str]:
        answer = secondary_capture(read_source(of), found(of, frame), version, np.zeros((4, 4, 3), np.uint8))
        return answer.SeriesInstanceUID, answer.SOPInstanceUID

    assert uids(path) == uids(path)
    assert uids(path)[0] == uids(other)[0]
    assert uids(path)[1] != uids(other)[1]
    assert uids(path, frame=1)[1] != uids(path, frame=2)[1]
    changed = uids(path, replace(VERSION, digest="f" * 32))
    assert not set(changed) & set(uids(path))


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jürgen"),
        ("ISO_IR 192", "Ήρων^Иван"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_names_are_written_as_the_source_writes_them(
    tmp_path: Path, character_set: Any, name: str, syntax: str
) -> None:
    elements = PATIENT | {"SpecificCharacterSet": character_set, "PatientName": name, "StudyDescription": "Überblick"}
    if character_set in ("GB18030", ["", "ISO 2022 IR 87"]):
        elements["StudyDescription"] = "CHEST"
    path = saved(tmp_path / "film.dcm", PIXELS, syntax, 8, **elements)
    report, (capture,) = answers(tmp_path, path, found(path))
    for answer in (report, capture):
        assert str(answer.PatientName) == name
        assert answer.SpecificCharacterSet == dcmread(path).SpecificCharacterSet
        assert str(answer.StudyDescription) == elements["StudyDescription"]
        assert answer.OtherPatientIDsSequence[0].PatientID == "old"
    as_written = dcmread(tmp_path / f"SR-{report.SOPInstanceUID}.dcm").get_item("PatientName").value
    assert as_written.strip() == dcmread(path).get_item("PatientName").value.strip()


def test_what_the_source_lacks_is_empty_and_what_it_has_wrong_stays(tmp_path: Path) -> None:
    path = source_file(tmp_path / "bare.dcm")
    bare = dcmread(path)
    for keyword in [*EMPTY_IF_MISSING, "StudyDescription", "PatientOrientation", "InstanceNumber"]:
        del bare[keyword]
    bare.save_as(path)
    report, (capture,) = answers(tmp_path, path, found(path))
    for answer in (report, capture):
        assert {str(answer[keyword].value or "") for keyword in EMPTY_IF_MISSING} == {""}
        assert "StudyDescription" not in answer
        assert answer.InstanceNumber == 1
    content = source_file(tmp_path / "wrong.dcm").read_bytes()
    wrong = tmp_path / "wrong.dcm"
    wrong.write_bytes(content.replace(b"19700101", b"1970/1/1").replace(b"CS\x02\x00F ", b"CS\x02\x00? "))
    report, (capture,) = answers(tmp_path, wrong, found(wrong))
    for answer in (report, capture):
        assert answer.get_item("PatientBirthDate").value == b"1970/1/1"
        assert answer.get_item("PatientSex").value.strip() == b"?"


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["", "../../etc", "1.2." + "3" * 70, ["1.2", "1.3"]])
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.filterwarnings("ignore:The value length")
def test_without_a_uid_there_is_no_answer_and_its_element_is_named(tmp_path: Path, keyword: str, value: Any) -> None:
    path = source_file(tmp_path / "film.dcm")
    changed = dcmread(path)
    setattr(changed, keyword, value)
    changed.save_as(path, enforce_file_format=False)
    with pytest.raises(NoAnswerError) as error:
        read_source(path)
    assert keyword in str(error.value)
    assert "etc" not in str(error.value)


def test_what_is_no_dicom_or_broken_has_no_answer(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    whole = path.read_bytes()
    for content in (b"", b"\x89PNG" + bytes(300), whole[:140], bytes(128) + b"DICM" + b"\xff" * 300):
        path.write_bytes(content)
        with pytest.raises(NoAnswerError):
            read_source(path)


def test_a_file_of_frames_has_one_report_with_a_group_for_each(tmp_path: Path) -> None:
    path = source_file(tmp_path / "frames.dcm", np.stack([PIXELS] * 4), SOPClassUID=MULTI_FRAME)
    images = [found(path, frame, score=float(frame)) for frame in (0, 1, 3)]
    report, captures = answers(tmp_path, path, *images)
    stated = values(report)
    assert stated["Abnormality score"] == [0.0, 1.0, 3.0]
    assert [reference[0].ReferencedFrameNumber for reference in stated["Source of Measurement"]] == [1, 2, 4]
    assert {"3 of 4 frames" in comment for comment in stated["Comment"]} == {True}
    assert [capture.InstanceNumber for capture in captures] == [1, 2, 4]
    assert [capture.SourceImageSequence[0].ReferencedFrameNumber for capture in captures] == [1, 2, 4]
    assert len({capture.SOPInstanceUID for capture in captures}) == 3
    assert len({capture.SeriesInstanceUID for capture in captures}) == 1


def test_a_capture_keeps_what_its_pixels_have_been_through(tmp_path: Path) -> None:
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 12,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    path = source_file(
        tmp_path / "film.dcm", **lossy, BurnedInAnnotation="YES", Laterality="L", BodyPartExamined="HAND"
    )
    report, (capture,) = answers(tmp_path, path, found(path))
    for keyword, value in (lossy | {"BurnedInAnnotation": "YES", "Laterality": "L"}).items():
        assert capture[keyword].value == value
        assert keyword not in report
    assert capture.PatientOrientation == ["L", "F"]


def test_words_stand_beside_the_picture_and_the_map_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((32, 32), 100, np.uint8)
    caveat = "it was not compared with lesions, as the images come without masks of where they lie"
    image = found(Path("film.dcm"), 2, header_mismatch="")
    drawn = picture_of(image, flat, caveat)
    assert (drawn.dtype, drawn.shape[2]) == (np.dtype(np.uint8), 3)
    grey = (drawn == 100).all(2)
    rows, columns = ((grey.sum(axis) > 200).nonzero()[0] for axis in (1, 0))
    box = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = len(box) / 32
    inside = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    y, x = slice(int(3 * side), int(9 * side)), slice(int(19 * side), int(27 * side))
    assert not inside[y, x].all()  # the map is there
    inside[y, x] = True
    assert inside.mean() > 0.999  # and nothing else: no word lies over the picture
    above = drawn[: rows[0]].min(2)
    assert (above < 64).sum() > 1000  # the words, black on white
    assert (above[0] == 255).all()
    assert not np.array_equal(drawn[: rows[0]], picture_of(replace(image, called="normal"), flat, caveat)[: rows[0]])
    monkeypatch.setattr("medscreen.reporting.dicom_answers.secondary_capture.USE", "x")
    assert (above < 64).sum() - (picture_of(image, flat, caveat)[: rows[0]].min(2) < 64).sum() > 1000


SOURCES: dict[str, dict[str, Any]] = {
    "whole": {},
    "no character set": {"SpecificCharacterSet": None},
    "bare": dict.fromkeys(EMPTY_IF_MISSING) | {"PatientOrientation": None},
    "latin": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen"},
    "japanese": {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"},
    "frames": {"SOPClassUID": MULTI_FRAME},
    "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
    "trial": {"ClinicalTrialSponsorName": "S", "ClinicalTrialProtocolID": "1", "ClinicalTrialProtocolName": None,
              "ClinicalTrialSiteID": None, "ClinicalTrialSiteName": None, "ClinicalTrialSubjectID": "7"},
    "anonymous": {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"},
    "lossy": LOSSY,
}  # fmt: skip


@pytest.fixture(params=SOURCES.values(), ids=SOURCES)
def answered(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """The files of the answers to a source."""
    elements: dict[str, Any] = request.param
    frames = 3 if elements.get("SOPClassUID") == MULTI_FRAME else 0
    path = source_file(tmp_path / "film.dcm", np.stack([PIXELS] * frames) if frames else PIXELS, **elements)
    images = [found(path, frame) for frame in range(frames)] or [found(path, called=OUTSIDE, in_domain=False)]
    answers(tmp_path, path, *images)
    files = sorted(tmp_path.glob("*-2.25.*.dcm"))
    assert len(files) == 1 + len(images)
    return files


def test_dicom_validator_finds_no_error(answered: list[Path]) -> None:
    for file in answered:
        assert dicom_validator(file) == []


def test_dciodvfy_and_dsrdump_find_no_error(answered: list[Path]) -> None:
    for file in answered:
        assert dciodvfy(file) == []
    text = report_text(answered[-1])
    assert not unstated(text, "Abnormality score", DIGEST, "RESEARCH USE ONLY")
    assert "Warning" not in text


@pytest.mark.parametrize("answered", [{}], indirect=True)
def test_the_judges_find_what_is_wrong(answered: list[Path]) -> None:
    for file in answered:
        wrong = dcmread(file)
        del wrong.PatientID
        wrong.ExposureTime = 3
        wrong.save_as(file)
        assert not unstated(" ".join(dicom_validator(file)), "PatientID TagMissing", "ExposureTime TagUnexpected")
    for file in answered:
        assert any("PatientID" in error for error in dciodvfy(file))


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of values in the sources
def test_real_images_have_answers_without_errors(tmp_path: Path) -> None:
    files = sorted(real_data("rsna_layout_standin", "train_images").rglob("*.dcm"))[:2]
    files += sorted(real_data("dicom").rglob("*.dcm"))
    made = 0
    for number, path in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            source: Source = read_source(path)
        except NoAnswerError as error:
            assert "its header" in str(error)
            continue
        made += 1
        report, _ = answers(folder, path, found(path))
        assert report.StudyInstanceUID == source.study.StudyInstanceUID
        for file in sorted(folder.glob("*-2.25.*.dcm")):
            assert set(dicom_validator(file)) <= set(dicom_validator(path))  # what the source has wrong stays
    assert made


def test_text_that_is_not_in_its_character_set_is_refused(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm", SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192"))
    with pytest.raises(NoAnswerError, match="SpecificCharacterSet"):
        read_source(path)


@pytest.mark.parametrize("number", ["abc", "1\\2"])
def test_an_instance_number_that_is_none_costs_no_answer(tmp_path: Path, number: str) -> None:
    path = source_file(tmp_path / "film.dcm", InstanceNumber=4711)
    path.write_bytes(path.read_bytes().replace(b"4711", number.ljust(4).encode()))
    assert read_source(path).number == 1


def test_the_report_states_why_there_is_no_capture(tmp_path: Path) -> None:
    path = source_file(tmp_path / "film.dcm")
    no_map = SimpleNamespace(map_of=lambda _: (None, "the map is constant"))
    (report,) = dicom_answers(
        cast("Any", SimpleNamespace(reported=VERSION, explained=no_map)), read_source(path), [(found(path), PIXELS)]
    )
    assert b"No map: the map is constant." in encoded(report)


@pytest.mark.parametrize(
    "elements",
    [
        {"BodyPartExamined": ""}, {"BodyPartExamined": "KNEE"}, {"BodyPartExamined": "CHEST"}, {},
        {"BodyPartExamined": "KNEE", "Laterality": "L"}, {"ImageLaterality": "R"},
    ],
)  # fmt: skip
def test_captures_have_a_laterality_where_the_standard_wants_one(tmp_path: Path, elements: dict[str, str]) -> None:
    path = source_file(tmp_path / "film.dcm", **elements)
    answers(tmp_path, path, found(path))
    (capture,) = tmp_path.glob("OT-*")
    assert dciodvfy(capture) == []
