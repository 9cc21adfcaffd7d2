"""Mutation test of the readers: damaged DICOM, PNG, JPEG and TIFF files, in a process with limited memory.

Each file has to be read or refused with UnreadableImageError.

python benchmarks/mutated_files.py --number 2000
"""

import argparse
import io
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from medscreen.config.display import FILE_DISPLAY
from medscreen.data.image_errors import UnreadableImageError
from medscreen.data.load_image import read_image

SIDE = 64
ADDRESS_SPACE = 4 * 2**30  # bytes; libraries take about 2**30
_MOST = 2**20  # maximum size of sample files in bytes: larger ones only take longer


def sample_files(samples: Path | None) -> dict[str, bytes]:
    """Name -> content: small generated files of each type, and the smaller files of the sample data."""
    rng = np.random.default_rng(0)
    deep = (rng.normal(2000, 300, (SIDE, SIDE)).cumsum(axis=0) % 4096).astype(np.uint16)
    gray = (deep >> 4).astype(np.uint8)
    colors = np.stack([gray, gray.T, 255 - gray], axis=-1)
    files = {f"{name}.dcm": _dicom(deep, syntax) for name, syntax in _SYNTAXES.items()}
    files["frames.dcm"] = _dicom(np.stack([deep, deep.T, deep]), ExplicitVRLittleEndian)
    for name, syntax, codec in (("jpeg", JPEGBaseline8Bit, "JPEG"), ("j2k", JPEG2000Lossless, "JPEG2000")):
        coded = _saved(Image.fromarray(gray), codec, **({"no_jp2": True} if codec == "JPEG2000" else {}))
        files[f"{name}.dcm"] = _dicom(gray, syntax, encapsulate([coded]))
    for name, picture, codec in (
        ("grey.png", gray, "PNG"), ("deep.png", deep, "PNG"), ("colours.png", colors, "PNG"),
        ("grey.jpg", gray, "JPEG"), ("colours.jpg", colors, "JPEG"), ("deep.tif", deep, "TIFF"),
    ):  # fmt: skip
        files[name] = _saved(Image.fromarray(picture), codec)
    found = sorted(p for p in samples.rglob("*") if p.is_file()) if samples else []
    return files | {path.name: path.read_bytes() for path in found if 500 < path.stat().st_size < _MOST}


_SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
}


def _dicom(stored: np.ndarray, syntax: str, encapsulated: bytes | None = None) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax if syntax != RLELossless else ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, "1.2.3", "CT"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 12 if stored.itemsize == 2 else 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = stored.itemsize * 8, bits, bits - 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.WindowCenter, dataset.WindowWidth = 1, -1024, 900, 3000
    dataset.PixelSpacing = [0.5, 0.5]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.PixelData = stored.tobytes() if encapsulated is None else encapsulated
    dataset["PixelData"].is_undefined_length = encapsulated is not None
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    target = io.BytesIO()
    dataset.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _saved(picture: Image.Image, codec: str, **options: bool) -> bytes:
    target = io.BytesIO()
    picture.save(target, codec, **options)
    return target.getvalue()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Random mutation: bytes changed, a length set to a huge value, a piece removed or duplicated, or truncation."""
    changed = bytearray(content)
    head = min(len(changed), 2048)
    for _ in range(int(rng.integers(1, 3))):
        where = int(rng.integers(0, head if rng.random() < 0.4 else len(changed)))
        match int(rng.integers(0, 8)):
            case 0 | 6 | 7:
                changed[where] ^= 1 << int(rng.integers(0, 8))
            case 1:
                size = int(rng.integers(1, 9))
                changed[where : where + size] = rng.bytes(size)
            case 2:
                changed[where : where + 4] = [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(4)][int(rng.integers(3))]
            case 3:
                del changed[where : where + int(rng.integers(1, 64))]
            case 4:
                changed[where:where] = changed[where : where + int(rng.integers(1, 64))]
            case _:
                del changed[max(where, 1) :]
        if len(changed) < 2:
            break
        head = min(len(changed), 2048)
    return bytes(changed)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--number", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--samples", type=Path, default=os.environ.get("MEDSCREEN_TEST_DATA"))
    options.add_argument("--failed", type=Path, default=Path(tempfile.gettempdir()) / "mutated-file")
    chosen = options.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    files = sample_files(Path(chosen.samples) / "dicom" if chosen.samples else None)
    names, rng = sorted(files), np.random.default_rng(chosen.seed)
    counts: Counter[str] = Counter()
    slowest = (0.0, "")
    for number in range(chosen.number):
        name = names[number % len(names)]
        chosen.failed.write_bytes(mutated(files[name], rng))  # after a crash, this file is the one that caused it
        started = time.perf_counter()
        try:
            read_image(chosen.failed, FILE_DISPLAY)
            counts["read"] += 1
        except UnreadableImageError as reason:
            assert 0 < len(str(reason)) <= 250 and "\n" not in str(reason), reason
            counts["refused"] += 1
        slowest = max(slowest, (time.perf_counter() - started, name))
    chosen.failed.unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{counts['read']} read, {counts['refused']} refused of {chosen.number}, from {len(names)} files")
    print(f"peak {peak:.0f} MiB; slowest {slowest[0]:.2f} s ({slowest[1]})", file=sys.stderr)


if __name__ == "__main__":
    main()
