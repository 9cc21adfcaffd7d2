"""Structured Report of screened images: TID 1500 measurements in a Comprehensive 3D SR."""

from collections.abc import Iterator, Sequence

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from medscreen.data.library_logging import quiet_pydicom
from medscreen.packaging.screened_files import ScreenedImage
from medscreen.reporting.case_report import ReportedVersion
from medscreen.reporting.dicom_answers.instance import USE, empty_study, put_into_study, series_and_equipment
from medscreen.reporting.dicom_answers.source import MANUFACTURER, Source, derived_uid

_SCHEME = "99MEDSCREEN"  # private (prefix 99, PS3.16, 8.2): no public codes have these meanings


def _own(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, _SCHEME, meaning)


_SCORE = _own("score", "Abnormality score")
_P_VALUE = _own("p-value", "Conformal p-value against healthy images")
_PROBABILITY = _own("probability", "Calibrated probability of being abnormal")
_OUTSIDE = _own("outside", "Outside the training data, no decision")
_DEFERRAL = _own("deferral", "Deferral")
_TO_READER = _own("reader", "Deferred to a reader")


class _Report(Comprehensive3DSR):
    """Report without copied patient and study, as highdicom rejects other SOP classes; `put_into_study` adds them."""

    def copy_patient_and_study_information(self, dataset: Dataset) -> None:
        """Copies nothing."""


def structured_report(source: Source, images: Sequence[tuple[ScreenedImage, str]], version: ReportedVersion) -> Dataset:
    """Report on the screened images of a file: one measurement group per (image, note); the note may be ""."""
    device = DeviceObserverIdentifyingAttributes(
        uid=derived_uid(version.digest),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=str(version),
        serial_number=version.digest,
    )
    content = MeasurementReport(
        observation_context=ObservationContext(ObserverContext(codes.DCM.Device, device)),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=[_group(source, image, note, len(images), version) for image, note in images],
    )
    evidence = empty_study()
    evidence.SOPClassUID, evidence.SOPInstanceUID = source.sop_class, source.instance
    evidence.StudyInstanceUID, evidence.SeriesInstanceUID = source.study.StudyInstanceUID, source.series
    with quiet_pydicom():
        report = _Report(
            [evidence],
            content,
            is_complete=True,
            coding_schemes=[
                CodingSchemeIdentificationItem(_SCHEME, name="medscreen", responsible_organization="medscreen")
            ],
            **series_and_equipment(source, version, "SR", None),
        )
        put_into_study(report, source)
    return report


def _group(
    source: Source, image: ScreenedImage, note: str, screened: int, version: ReportedVersion
) -> MeasurementsAndQualitativeEvaluations:
    frame = image.image.frame
    name = "image" if frame is None else f"frame {frame + 1}"
    group = MeasurementsAndQualitativeEvaluations(
        TrackingIdentifier(source.uid(version.digest, "tracking", frame), f"medscreen, {name}"),
        algorithm_id=AlgorithmIdentification(
            name=f"medscreen {version.model} ({version.detector})",
            version=str(version.number),
            parameters=[f"package digest {version.digest}", f"threshold of the score {version.point['threshold']:.6g}"],
            family=codes.DCM.ArtificialIntelligence,
        ),
        measurements=[Measurement(concept, value, codes.UCUM.NoUnits) for concept, value in _numbers(image)],
        qualitative_evaluations=[QualitativeEvaluation(concept, value) for concept, value in _decisions(image)],
        source_images=[
            SourceImageForMeasurementGroup(source.sop_class, source.instance, None if frame is None else [frame + 1])
        ],
    )
    notes = [f"{USE}, never diagnosis."]
    if screened < source.frames:
        notes.append(f"Only {screened} of {source.frames} frames of the instance were screened.")
    if image.header_mismatch:
        notes.append(f"Unlike the training images: {image.header_mismatch}.")
    if image.for_processing:
        notes.append("Raw detector values (FOR PROCESSING).")
    if note:
        notes.append(note)
    # ASCII is valid in every character set; quoted header values may not be in that of the source
    text = " ".join(notes).encode("ascii", "replace").decode()
    comment = TextContentItem(codes.DCM.Comment, text, RelationshipTypeValues.CONTAINS)
    group[0].ContentSequence.append(comment)
    return group


def _numbers(image: ScreenedImage) -> Iterator[tuple[CodedConcept, float]]:
    yield _SCORE, image.score
    yield _P_VALUE, image.p_value
    if image.in_domain is not False:
        yield _PROBABILITY, image.probability


def _decisions(image: ScreenedImage) -> Iterator[tuple[CodedConcept, CodedConcept]]:
    normal = codes.SCT.Abnormal if image.abnormal else codes.SCT.Normal
    yield codes.DCM.Normality, _OUTSIDE if image.in_domain is False else normal
    if image.deferred and image.in_domain is not False:
        yield _DEFERRAL, _TO_READER
