"""Header elements of the source image that its Structured Report and Secondary Captures refer to or copy."""

import uuid
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID

from medscreen.data.dicom.elements import HEAD, first_element, opened, read_elements
from medscreen.data.dicom.series import whole_number
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.library_logging import quiet_pydicom

MANUFACTURER, QUALIFICATION = "medscreen", "RESEARCH"
EMPTY_IF_MISSING = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "StudyID",
)  # fmt: skip
"""Type 2 elements: present in every answer, empty if the source lacks them."""
# PS3.3: Patient (C.7.1.1), General Study (C.7.2.1), Patient Study (C.7.2.2), Clinical Trial Subject and Study (C.7.1.3,
# C.7.2.3), with the character set in which they are written
_COPIED = (
    *EMPTY_IF_MISSING, "SpecificCharacterSet", "StudyInstanceUID", "StudyDescription", "ProcedureCodeSequence",
    "IssuerOfAccessionNumberSequence", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID",
    "OtherPatientIDsSequence", "PatientBirthTime", "PatientSpeciesDescription", "PatientSpeciesCodeSequence",
    "PatientBreedDescription", "PatientBreedCodeSequence", "BreedRegistrationSequence", "ResponsiblePerson",
    "ResponsiblePersonRole", "ResponsibleOrganization", "QualityControlSubject", "PatientIdentityRemoved",
    "DeidentificationMethod", "DeidentificationMethodCodeSequence", "PatientAge", "PatientSize", "PatientWeight",
    "PatientSexNeutered", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID",
    "ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolEthicsCommitteeApprovalNumber",
    "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
)  # fmt: skip
_OF_IMAGE = (
    "BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "PatientOrientation", "Laterality", "ImageLaterality", "BodyPartExamined",
)  # fmt: skip
_NAMED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_OTHERS = ("Manufacturer", "ContentQualification", "Rows", "NumberOfFrames", "InstanceNumber")
_READ = {keyword: Tag(keyword) for keyword in (*_COPIED, *_OF_IMAGE, *_NAMED, *_OTHERS)}


class NoAnswerError(UnreadableImageError):
    """No answer can be made for a DICOM file; the message is the reason, without header values."""


class NotDicomError(NoAnswerError):
    """The file is not DICOM."""


@dataclass(frozen=True)
class Source:
    """The screened image that an answer refers to.

    `study`: its patient and study elements. `image`: elements that a Secondary Capture copies.
    `has_image`: False for objects without pixels, such as reports. `is_answer`: True if medscreen made it.
    `frames`: number of frames. `number`: InstanceNumber, 1 if missing.
    """

    sop_class: str
    instance: str
    series: str
    study: Dataset
    image: Dataset
    has_image: bool
    is_answer: bool
    frames: int
    number: int

    def uid(self, *words: object) -> str:
        """UID of an object made from this image; equal words give equal UIDs, so that a repeat makes no duplicate."""
        return derived_uid(self.instance, *words)


def derived_uid(*words: object) -> str:
    """A UID (PS3.5 B.2) derived from a hash of words."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '|'.join(map(str, words))).int}"


def read_source(path: Path) -> Source:
    """Reads the header of a DICOM file; raises NoAnswerError if it lacks valid UIDs of instance, series or study.

    Raises NotDicomError for other files.
    """
    with quiet_pydicom():
        try:
            with opened(path) as file:
                if first_element(file.read(HEAD)) is None:
                    raise NotDicomError("not a DICOM file")
                file.seek(0)
                header = read_elements(file, _READ.values()).dataset
                header.decode()
                if any("\N{REPLACEMENT CHARACTER}" in str(element.value) for element in header):
                    raise NoAnswerError("its text is not valid in its SpecificCharacterSet")
            named = {keyword: str(header.get(keyword, "")) for keyword in _NAMED}
            frames, number = (
                whole_number(header.get(keyword)) or 1 for keyword in ("NumberOfFrames", "InstanceNumber")
            )
        except NoAnswerError:
            raise
        except Exception:  # pydicom raises various types on broken files, with header values
            raise NoAnswerError("its header can't be read") from None
        for keyword, value in named.items():
            if not UID(value).is_valid:
                raise NoAnswerError(f"its header has no valid {keyword}")
        return Source(
            named["SOPClassUID"],
            named["SOPInstanceUID"],
            named["SeriesInstanceUID"],
            _part(header, _COPIED),
            _part(header, _OF_IMAGE),
            "Rows" in header,
            header.get("Manufacturer") == MANUFACTURER and header.get("ContentQualification") == QUALIFICATION,
            frames,
            max(number, 1),
        )


def _part(header: Dataset, keywords: tuple[str, ...]) -> Dataset:
    part = Dataset()
    for keyword in keywords:
        if _READ[keyword] in header:
            part.add(header[_READ[keyword]])
    if not part.get("SpecificCharacterSet", ""):  # type 1C: may be absent, must not be empty
        part.pop("SpecificCharacterSet", None)
    return part
