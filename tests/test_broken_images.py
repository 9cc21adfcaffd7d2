"""Broken and hostile files: nothing crashes, nothing swells, and no reason names a patient."""

import csv
import hashlib
import os
import struct
import subprocess
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless

from factories import REPOSITORY, dicom, real_data, written
from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.data.dicom.frames import read_frame
from medscreen.data.dicom.headers import ELEMENTS
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_image

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
NAME = "Quillfeather^Zephyrine"


def refusal(path: Path, display: DisplayParams = FILE_DISPLAY) -> str:
    with pytest.raises(UnreadableImageError) as error:
        read_image(path, display)
    reason = str(error.value)
    assert 0 < len(reason) <= 250
    assert "\n" not in reason
    assert str(path.parent) not in reason
    return reason


def in_a_small_process(*arguments: str, **environment: str) -> str:
    """What a Python program prints; it must end well and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=300,
        env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_dicom_header_of_65_000_squared_allocates_nothing(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    for compressed in (False, True):
        dataset = dcmread(path)
        dataset.Rows = dataset.Columns = 65_000
        if compressed:
            dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
        dataset.save_as(tmp_path / "b.dcm")
        assert "65000 x 65000 pixels, a decompression bomb" in refusal(tmp_path / "b.dcm")


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless])
def test_a_codestream_of_another_size_than_its_header_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    if syntax == JPEG2000Lossless:
        sizes = struct.pack(">HIIIIIIIIH", 0, 65_000, 65_000, 0, 0, 65_000, 65_000, 0, 0, 1)
        frame = b"\xff\x4f\xff\x51\x00\x29" + sizes + b"\x07\x01\x01\xff\xd9"
    else:
        frame = b"\xff\xd8\xff\xc0\x00\x0b\x08" + struct.pack(">HH", 65_000, 65_000) + b"\x01\x01\x11\x00\xff\xd9"
    dataset = dcmread(dicom(tmp_path / "a.dcm", (RAMP >> 4).astype(np.uint8), bits=8))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "b.dcm")
    assert "differs from Rows, Columns and SamplesPerPixel" in refusal(tmp_path / "b.dcm")


def tiff_header(side: int) -> bytes:
    entries = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (279, 4, 100)]
    fields = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + b"\0\0\0\0"


def jpeg_header(side: int) -> bytes:
    table = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    return b"\xff\xd8" + table + b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", side, side) + b"\x01\x01\x11\x00\xff\xd9"


@pytest.mark.parametrize("header", [tiff_header, jpeg_header])
def test_a_picture_of_65_000_squared_allocates_nothing(tmp_path: Path, header: Callable[[int], bytes]) -> None:
    assert "decompression bomb" in refusal(written(tmp_path / "a.png", header(65_000)))
    assert "decompression bomb" in refusal(written(tmp_path / "b.png", header(9_200)))


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    dataset.save_as(path)
    assert read_image(path, FILE_DISPLAY).grey.shape == RAMP.shape
    content = path.read_bytes()
    meta = 132 + 12 + dcmread(path).file_meta.FileMetaInformationGroupLength
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = bytes(2**24)  # 320 MiB of them
    bomb = b"".join(deflater.compress(zeros) for _ in range(20)) + deflater.flush()
    assert "it is deflated" in refusal(written(path, content[:meta] + bomb))


def test_a_length_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    content = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=2000, WindowWidth=1000).read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW\0\0")
    huge = content[: start + 8] + b"\xfe\xff\xff\xff" + content[start + 12 : -4000]
    assert "damaged" in refusal(written(tmp_path / "b.dcm", huge))


def test_pixel_data_that_is_too_short_is_not_filled_up_with_what_follows(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", RAMP)
    dataset = dcmread(path)
    dataset.PixelData = dataset.PixelData[:4000]
    dataset.DataSetTrailingPadding = bytes(8192)
    dataset.save_as(path)
    assert "fewer pixels" in refusal(path)


TEXT = ("PN", "LO", "SH", "LT", "ST", "UT", "UC", "CS", "AE", "DS", "IS", "DA", "TM", "DT", "AS", "UI", "UR")


@pytest.mark.parametrize("vr", TEXT)
@pytest.mark.parametrize("window", ["file", "lung", "percentiles"])
def planted(path: Path, keyword: str) -> Path:
    """A CT whose window shows nothing, with a name where `keyword` stands."""
    dataset = dcmread(dicom(path, RAMP, WindowCenter=9000, WindowWidth=10, Modality="CT"))
    where, tag = dataset.file_meta if keyword == "TransferSyntaxUID" else dataset, Tag(keyword)
    secret = NAME.encode() + b"\0"
    where[tag] = RawDataElement(tag, dictionary_VR(tag), len(secret), secret, 0, False, True)
    with warnings.catch_warnings(action="ignore"), pydicom.config.disable_value_validation():
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
    assert NAME.encode() in path.read_bytes()
    return path


@pytest.mark.parametrize("window", ["file", "lung", "percentiles"])
def test_no_reason_names_what_stands_in_a_header(
    tmp_path: Path, window: str, capfd: pytest.CaptureFixture[str]
) -> None:
    display = DisplayParams(window=window, burned_in="refuse")  # type: ignore[arg-type]
    read = [keyword for keyword in ELEMENTS if dictionary_VR(keyword) in TEXT]
    assert len(read) >= 12
    refused = set()
    for keyword in [*read, "PatientName", "PatientID", "TransferSyntaxUID"]:
        try:
            read_image(planted(tmp_path / "a.dcm", keyword), display)
        except UnreadableImageError as error:
            refused.add(keyword)
            output = "".join(traceback.format_exception(error))
            assert "uillfeather" not in output
            assert "ephyrine" not in output
    assert {"NumberOfFrames", "PhotometricInterpretation", "TransferSyntaxUID"} <= refused
    assert capfd.readouterr() == ("", "")


def test_no_reason_names_a_patient_when_the_file_is_broken_anywhere(tmp_path: Path) -> None:
    path = dicom(
        tmp_path / "a.dcm", RAMP, PatientName=NAME, PatientID=NAME, InstitutionName=NAME, StudyDescription=NAME,
        WindowCenter=9, WindowWidth=9, ImageComments=NAME * 9,
    )  # fmt: skip
    content, rng = path.read_bytes()[:1200], np.random.default_rng(0)
    tail = path.read_bytes()[1200:]
    for _ in range(300):
        broken = bytearray(content)
        for where in rng.integers(132, len(content), 3):
            broken[where] = rng.integers(0, 256)
        path.write_bytes(bytes(broken) + tail[: int(rng.integers(0, len(tail)))])
        try:
            read_image(path, FILE_DISPLAY)
        except UnreadableImageError as error:
            assert "uillfeather" not in str(error)
            assert "ephyrine" not in str(error)


def test_pydicoms_own_files_crash_nothing_and_say_nothing() -> None:
    program = """
import sys
from pathlib import Path
import pydicom
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_image
shown = 0
for path in sorted(Path(pydicom.data.__file__).parent.rglob("*")):
    if path.is_file():
        try:
            shown += read_image(path, FILE_DISPLAY).grey.ndim == 2
        except UnreadableImageError:
            pass
print(shown)
"""
    done = subprocess.run([sys.executable, "-W", "always", "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert int(done.stdout) >= 45


def test_pydicoms_own_files_decode_as_pydicom_decodes_them() -> None:
    # RGB, YBR in 4:2:2 and not, palettes, odd and big-endian rows, several frames, implicit headers that say explicit
    compared = set()
    for path in sorted((Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm")):
        with warnings.catch_warnings(action="ignore"):
            try:
                header = dcmread(path)
                expected = pixel_array(header, index=int(header.get("NumberOfFrames") or 1) // 2)
            except Exception:  # noqa: S112 - what pydicom can't decode raises whatever it likes
                continue
            np.testing.assert_array_equal(read_frame(path).stored, expected, err_msg=path.name)
            compared.add(header.PhotometricInterpretation)
    assert {"MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR"} <= compared


def test_mutated_files_are_read_or_refused_in_bounded_memory(tmp_path: Path) -> None:
    """The full number is that of benchmarks/mutated_files.py, which this runs in short."""
    output = in_a_small_process(
        str(REPOSITORY / "benchmarks" / "mutated_files.py"), "--number", "400", "--failed", str(tmp_path / "mutated")
    )
    read, refused = (int(part.split()[0]) for part in output.split(" of ")[0].split(", "))
    assert read + refused == 400
    assert min(read, refused) > 40


def expected() -> list[dict[str, str]]:
    with real_data("dicom", "EXPECTED.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stored(row: dict[str, str]) -> np.ndarray:
    path, frames = real_data("dicom", row["path"]), int(row["frames"] or 1)
    every = [read_frame(path, number).stored for number in range(frames)]
    return np.stack(every) if frames > 1 else every[0]


def test_every_file_of_the_sample_data_decodes_to_what_is_expected() -> None:
    pytest.importorskip("gdcm", reason="needs the extra medscreen[dicom]")
    for row in expected():
        if row["pixels"] != "ok":
            assert ("has no decoder" in refusal(real_data("dicom", row["path"]))) is row["pixels"].startswith("NotImpl")
            continue
        values = stored(row)
        assert "x".join(map(str, values.shape)) == row["shape"], row["path"]
        assert str(values.dtype) == row["dtype"], row["path"]
        if row["ts"].startswith("JPEG Extended"):
            # lossy, 12 bits: GDCM rounds otherwise than the GPL decoder that wrote the table
            assert abs(int(values.min()) - int(row["min"])) <= 1
            assert abs(int(values.max()) - int(row["max"])) <= 1
            continue
        assert (int(values.min()), int(values.max())) == (int(row["min"]), int(row["max"])), row["path"]
        assert hashlib.md5(values.tobytes(), usedforsecurity=False).hexdigest()[:12] == row["md5"], row["path"]


def test_without_the_extra_its_files_are_named_and_all_others_are_read() -> None:
    program = """
import csv, sys
from pathlib import Path
for name in ("gdcm", "openjpeg", "pylibjpeg"):
    sys.modules[name] = None  # as where it is not installed: importing it fails
from medscreen.config.display import FILE_DISPLAY
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_image
root = Path(sys.argv[1])
for row in csv.DictReader((root / "EXPECTED.csv").open()):
    try:
        read_image(root / row["path"], FILE_DISPLAY)
        print(row["path"], "shown", sep="|")
    except UnreadableImageError as reason:
        print(row["path"], reason, sep="|")
"""
    output = in_a_small_process("-c", program, str(real_data("dicom", "EXPECTED.csv").parent))
    reasons = dict(line.split("|", 1) for line in output.splitlines())
    extra = ("JPEG Lossless", "JPEG-LS", "JPEG Extended")
    for row in expected():
        if row["pixels"] == "ok" and row["ts"].startswith(extra):
            assert reasons[row["path"]].endswith("needs further decoders: pip install 'medscreen[dicom]'")
            assert row["ts"] in reasons[row["path"]]
        else:
            assert (reasons[row["path"]] == "shown") is (row["pixels"] == "ok"), row["path"]
    assert sum("medscreen[dicom]" in reason for reason in reasons.values()) >= 9
