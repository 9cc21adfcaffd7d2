"""Common elements of Structured Report and Secondary Capture (series, equipment, UIDs, study), and encoding."""

from importlib.metadata import version as installed
from io import BytesIO
from typing import Any

from pydicom import Dataset

from medscreen.data.library_logging import quiet_pydicom
from medscreen.reporting.case_report import ReportedVersion
from medscreen.reporting.dicom_answers.source import EMPTY_IF_MISSING, MANUFACTURER, QUALIFICATION, Source, derived_uid

USE = "RESEARCH USE ONLY"
_SERIES_NUMBERS = {"SR": 9801, "OT": 9802}  # above those of most devices, so that viewers list them last


def series_and_equipment(source: Source, version: ReportedVersion, modality: str, frame: int | None) -> dict[str, Any]:
    """Series, equipment and UIDs of an answer, as keyword arguments of highdicom.

    Answers of one package and modality in a study form one series. `frame`: number of the frame, from 0.
    """
    software = installed("medscreen")
    made_by = (version.digest, software, modality)
    return {
        "series_instance_uid": derived_uid(source.study.StudyInstanceUID, *made_by),
        "series_number": _SERIES_NUMBERS[modality],
        "series_description": f"medscreen, {USE}",
        "sop_instance_uid": source.uid(*made_by, frame),
        "instance_number": source.number if frame is None else frame + 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": str(version)[:64],
        "device_serial_number": version.digest,
        "software_versions": software,
        "content_qualification": QUALIFICATION,
    }


def empty_study() -> Dataset:
    """The patient and study elements required in every instance, without values."""
    study = Dataset()
    for keyword in EMPTY_IF_MISSING:
        setattr(study, keyword, None)
    return study


def put_into_study(answer: Dataset, source: Source) -> None:
    """Copies patient and study of the source to an answer."""
    answer.update(empty_study())
    answer.update(source.study)


def encoded(answer: Dataset) -> bytes:
    """Encodes an answer as a DICOM file."""
    stream = BytesIO()
    with quiet_pydicom():  # invalid values of the source are kept
        answer.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
