"""Frames of transfer syntaxes as their encoders write them."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import get_frame

from factories import dicom

JPEG_LOSSLESS, JPEG_LS, JPEG_LS_NEAR = (f"1.2.840.10008.1.2.4.{number}" for number in (70, 80, 81))


def jpeg_2000(values: NDArray[Any], precision: int, ratio: float | None = None) -> bytes:
    """A JPEG 2000 codestream with the sign of the values' kind; lossy where a ratio is given."""
    openjpeg = pytest.importorskip("openjpeg.utils", reason="needs the extra medscreen[dicom]")
    lossy = {"compression_ratios": [ratio]} if ratio else {}
    return bytes(
        openjpeg.encode_array(
            np.ascontiguousarray(values), bits_stored=precision, photometric_interpretation=2, use_mct=False, **lossy
        )
    )


def by_gdcm(values: NDArray[Any], syntax: str, precision: int) -> bytes:
    """A frame of JPEG lossless or JPEG-LS, of 8 or of 9 to 16 bits."""
    gdcm = pytest.importorskip("gdcm", reason="needs the extra medscreen[dicom]")
    with TemporaryDirectory() as folder:
        plain, coded = (str(Path(folder) / name) for name in ("plain.dcm", "coded.dcm"))
        dicom(Path(plain), values, bits=precision)
        reader = gdcm.ImageReader()
        reader.SetFileName(plain)
        assert reader.Read()
        # each object has a name: GDCM keeps no reference to what it is given
        wanted = gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax))
        image = reader.GetImage()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(wanted)
        change.SetInput(image)
        assert change.Change()
        output, file = change.GetOutput(), reader.GetFile()
        writer = gdcm.ImageWriter()
        writer.SetFileName(coded)
        writer.SetFile(file)
        writer.SetImage(output)
        assert writer.Write()
        return get_frame(dcmread(coded).PixelData, 0, number_of_frames=1)
