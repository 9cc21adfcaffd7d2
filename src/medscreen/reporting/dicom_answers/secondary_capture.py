"""Secondary Capture: a screened image under its explanation map, with a burned-in research-use notice."""

from datetime import datetime
from io import BytesIO
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from medscreen.data.display import Grey
from medscreen.explain.packaged_map import Maps
from medscreen.packaging.screened_files import ScreenedImage
from medscreen.reporting.case_report import ReportedVersion
from medscreen.reporting.dicom_answers.instance import USE, put_into_study, series_and_equipment
from medscreen.reporting.dicom_answers.source import Source
from medscreen.reporting.evaluation_report.canvas import DRAWING, save_figure
from medscreen.reporting.evaluation_report.explanation_figures import draw_map

_UNPAIRED = {"ABDOMEN", "BRAIN", "CHEST", "CSPINE", "HEAD", "HEART", "LSPINE", "NECK", "PELVIS", "SKULL", "TSPINE"}
_WIDTH = 76  # characters of a line above the picture


def secondary_capture(
    source: Source, image: ScreenedImage, version: ReportedVersion, picture: NDArray[np.uint8]
) -> Dataset:
    """Secondary Capture of a picture (H, W, 3), RGB, made from the image."""
    now = datetime.now().astimezone()
    frame = image.image.frame
    capture = Dataset()
    capture.file_meta = FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    capture.SOPClassUID = SecondaryCaptureImageStorage
    about = series_and_equipment(source, version, "OT", frame)
    capture.SOPInstanceUID, capture.SeriesInstanceUID = about["sop_instance_uid"], about["series_instance_uid"]
    capture.SeriesNumber, capture.InstanceNumber = about["series_number"], about["instance_number"]
    capture.SeriesDescription, capture.Modality = about["series_description"], "OT"
    capture.Manufacturer, capture.ManufacturerModelName = about["manufacturer"], about["manufacturer_model_name"]
    capture.DeviceSerialNumber, capture.SoftwareVersions = about["device_serial_number"], about["software_versions"]
    capture.ContentQualification = about["content_qualification"]
    capture.ConversionType = "WSD"
    capture.ImageType = ["DERIVED", "SECONDARY"]
    capture.DerivationDescription = f"Explanation map of the detector over the image. {USE}, never diagnosis."
    capture.PatientOrientation = None
    for keyword, value in (("Date", now.strftime("%Y%m%d")), ("Time", now.strftime("%H%M%S"))):
        for of in ("InstanceCreation", "Content"):
            setattr(capture, f"{of}{keyword}", value)
        setattr(capture, f"{keyword}OfSecondaryCapture", value)
    capture.SourceImageSequence = [_reference(source, frame)]
    capture.Rows, capture.Columns, capture.SamplesPerPixel = picture.shape
    capture.PhotometricInterpretation, capture.PlanarConfiguration = "RGB", 0
    capture.BitsAllocated, capture.BitsStored, capture.HighBit, capture.PixelRepresentation = 8, 8, 7, 0
    capture.PixelData = picture.tobytes()
    put_into_study(capture, source)
    capture.update(source.image)
    if not {"Laterality", "ImageLaterality"} & set(capture.dir()) and capture.get("BodyPartExamined") not in _UNPAIRED:
        # type 2 for paired body parts: required, may be empty (PS3.3, C.7.3.1)
        capture.Laterality = None
    return capture


def _reference(source: Source, frame: int | None) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.sop_class, source.instance
    if frame is not None:
        reference.ReferencedFrameNumber = frame + 1
    return reference


def overlay(
    image: ScreenedImage, square: Grey, found: Maps, version: ReportedVersion, words: tuple[str, str]
) -> NDArray[np.uint8]:
    """Draws an image (S, S) under its map, as RGB (H, W, 3), with text above the picture.

    `words`: unit of the map, and limits of its validation or "".
    """
    unit, caveat = words
    frame = "" if image.image.frame is None else f", frame {image.image.frame + 1}"
    lines = [f"{version}{frame}: {image.called}, score {image.score:.4g}", *([f"Map: {caveat}."] if caveat else [])]
    stream = BytesIO()
    with DRAWING:
        figure = Figure(figsize=(6.4, 6.4), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.imshow(square, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        draw_map(axes, found, unit)
        figure.suptitle(f"{USE}, never diagnosis", fontsize=15, fontweight="bold")
        axes.set_title("\n".join(fill(line, _WIDTH) for line in lines), fontsize=9, parse_math=False)
        save_figure(figure, stream)
    with Image.open(stream) as drawn:
        return np.asarray(drawn.convert("RGB"))
