"""A set of labeled images on disk: a memory-mapped array and a Parquet manifest."""

import errno
import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from medscreen.config.display import FILE_DISPLAY, DisplayParams
from medscreen.errors import MedscreenError
from medscreen.workspace.layout import Layout

# Arrow's default allocator retains ten times the memory of a manifest after writing or reading it
pa.set_memory_pool(pa.system_memory_pool())

FINDING = "finding"
"""Name of the attribute that holds the finding of an image."""
DEVELOPMENT = ("train", "tune", "val")
TEST = "test"
SPLITS = (*DEVELOPMENT, TEST)
Pixels = NDArray[np.uint8]
"""Images as one array: (number, height, width), display gray 0 to 255."""

_AT_ONCE, _PIXELS_AT_ONCE = 32, 32 * 128**2  # images and pixels of a batch; larger batches are not faster
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK_BYTES = 1 << 19  # eight times as much as 64-bit floats
_ATTRIBUTE, _DICOM = "trait:", "dicom:"  # prefixes of columns, which existing manifests have
_SPACING = ("spacing_row", "spacing_column")
_DISPLAY, _SPLIT = b"display", b"split"  # keys of the manifest's metadata
Spacing = tuple[float, float] | None
"""Millimeters between rows and between columns of the full-size image; None if unknown."""


@dataclass(frozen=True)
class ImageSet:
    """Images and their metadata; all arrays have one entry per image.

    `labels`: 0 normal, 1 abnormal. `patients`: patient numbers, valid within this data set only. `origins`: file below
    the data set's root (and index inside it). `digests`: digests of the full-size images, which do not depend on the
    curated size. `attributes`: name -> values as text, "" if unknown: `finding`, sex, age, site. `spacings`: one per
    image, or empty. `display`: settings by which DICOM was displayed. `dicom`: `modality` and `body part` as DICOM
    states them, "" if not stated, None for other files; empty without DICOM.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    origins: Sequence[str]
    digests: Sequence[str]
    attributes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spacings: Sequence[Spacing] = ()
    display: DisplayParams = FILE_DISPLAY
    dicom: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "ImageSet":
        """The images at these positions (or where the mask is true), copied."""
        chosen = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return ImageSet(
            np.ascontiguousarray(self.pixels[chosen]),
            self.labels[chosen],
            self.patients[chosen],
            [self.origins[i] for i in chosen],
            [self.digests[i] for i in chosen],
            {name: [column[i] for i in chosen] for name, column in self.attributes.items()},
            [self.spacings[i] for i in chosen] if self.spacings else (),
            self.display,
            {name: [column[i] for i in chosen] for name, column in self.dicom.items()},
        )

    def healthy(self) -> "ImageSet":
        """The images labeled normal."""
        return self.take(self.labels == 0)


def batches(number: int, side: int) -> Iterator[slice]:
    """Slices that cut `number` images of `side` x `side` pixels into batches for a network."""
    at_once = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // side**2))
    return (slice(start, start + at_once) for start in range(0, number, at_once))


def save_images(images: ImageSet, index: NDArray[np.int64], folder: Path, split: str = "") -> None:
    """Writes the images at these positions to `folder`, a chunk at a time; equal input gives equal bytes.

    The manifest records `split`, by which `load_images` recognizes the test split.
    """
    folder.mkdir(parents=True)
    shape = (len(index), *images.pixels.shape[1:])
    target = new_array(folder / "images.npy", np.uint8, shape)
    start = 0
    for chunk in in_chunks(images.pixels, index):
        target[start : start + len(chunk)] = chunk
        start += len(chunk)
        forget(target)
    target.flush()
    spacings = [(images.spacings[i] if images.spacings else None) or (None, None) for i in index]
    manifest = pa.table(
        {
            "origin": [images.origins[i] for i in index],
            "patient": images.patients[index],
            "label": images.labels[index].astype(np.int8),
            "digest": [images.digests[i] for i in index],
            **{name: pa.array([s[i] for s in spacings], pa.float64()) for i, name in enumerate(_SPACING)},
            **{_ATTRIBUTE + name: [column[i] for i in index] for name, column in images.attributes.items()},
            **{_DICOM + name: pa.array([c[i] for i in index], pa.string()) for name, c in images.dicom.items()},
        }
    ).replace_schema_metadata({_DISPLAY: images.display.model_dump_json(), _SPLIT: split})
    pq.write_table(manifest, folder / "manifest.parquet")


def new_array(path: Path, kind: type[np.generic], shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """A new memory-mapped .npy file of zeros, whose disk space is reserved.

    Without reservation a full disk would kill the process by a signal. Raises MedscreenError, and leaves no file, if
    it can't be written or the disk is full.
    """
    try:
        array: np.memmap[Any, Any] = open_memmap(path, mode="w+", dtype=kind, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in _FULL:
            raise MedscreenError(f"{path} can't be written ({error.strerror}). Check its folder.") from error
        needed = int(np.prod(shape)) * np.dtype(kind).itemsize
        raise MedscreenError(
            f"{path}: no room for its {needed:,} bytes ({error.strerror}). Free space on that disk."
        ) from error
    return array


def in_chunks(pixels: Pixels, positions: NDArray[np.int64]) -> Iterator[Pixels]:
    """The images at these positions, copied in chunks; of a mapped file only one chunk stays in memory."""
    step = max(1, _CHUNK_BYTES // max(1, int(np.prod(pixels.shape[1:]))))
    for start in range(0, len(positions), step):
        yield np.asarray(pixels[positions[start : start + step]])
        forget(pixels)


def forget(pixels: NDArray[Any]) -> None:
    """Releases the memory of a mapped file, which otherwise counts as this process's."""
    mapped = getattr(pixels, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


_test_is_open: ContextVar[bool] = ContextVar("test_is_open", default=False)


@contextmanager
def open_test_split() -> Iterator[None]:
    """Within this context, `load_images` reads the test split.

    For the stages `curate`, which writes it, and `evaluate`, and for commands that compare digests: no setting may be
    chosen on it. A test lists the modules that may use this function.
    """
    token = _test_is_open.set(True)
    try:
        yield
    finally:
        _test_is_open.reset(token)


def load_images(folder: Path) -> ImageSet:
    """Image set written by `save_images`, with memory-mapped pixels.

    Raises MedscreenError if there is none, and for the test split, in any folder, outside `open_test_split`.
    """
    try:
        pixels = np.load(folder / "images.npy", mmap_mode="r")
        manifest = pq.read_table(folder / "manifest.parquet")
        if _split_of(manifest, folder) == TEST and not _test_is_open.get():
            raise MedscreenError(f"{folder}: the test split is read by the evaluate stage alone; use val.")
    except FileNotFoundError as error:
        raise MedscreenError(f"{folder} holds no curated images; run `dvc repro curate` first.") from error
    return ImageSet(
        pixels,
        manifest["label"].to_numpy().astype(np.int64),
        manifest["patient"].to_numpy().astype(np.int64),
        manifest["origin"].to_pylist(),
        manifest["digest"].to_pylist(),
        _columns(manifest, _ATTRIBUTE),
        _spacings(manifest),
        _display(manifest),
        _columns(manifest, _DICOM),
    )


def curated_images(layout: Layout, split: str) -> ImageSet:
    """The images of a split of the workspace, with memory-mapped pixels.

    Raises MedscreenError if there are none, and if their digest is not the one in reports/curation.json: DVC does not
    verify the contents of objects in its cache or remote.
    """
    folder = layout.curated(split)
    try:
        images = load_images(folder)
        digest = set_digest(images)
    except MedscreenError:
        raise
    except Exception as error:  # damaged files of NumPy and Arrow fail in many ways
        if isinstance(error, OSError) and error.errno:
            raise
        raise MedscreenError(_damaged(layout, split)) from error
    if digest != _curated_digest(layout, split, digest):
        raise MedscreenError(_damaged(layout, split))
    return images


def _damaged(layout: Layout, split: str) -> str:
    return (
        f"{layout.curated(split).relative_to(layout.workspace)}: damaged or changed by hand, not the images that "
        "reports/curation.json names. Remove it and its objects in `dvc cache dir` (`medscreen verify` names damaged "
        "objects), then run `dvc repro`, or `dvc pull` if a remote has it."
    )


def _curated_digest(layout: Layout, split: str, unknown: str) -> str:
    """Digest of a split in the audit; `unknown` if there is no audit or it has no digests."""
    try:
        about = json.loads(layout.curation_report.read_text())
    except FileNotFoundError:
        return unknown
    except ValueError as error:
        raise MedscreenError("reports/curation.json: damaged, no JSON. Run `dvc repro curate`.") from error
    return str(about["splits"][split].get("digest", unknown))


def _columns(manifest: pa.Table, prefix: str) -> dict[str, list[Any]]:
    return {c.removeprefix(prefix): _values(manifest[c]) for c in manifest.column_names if c.startswith(prefix)}


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Values of a column; equal texts share one object, to save memory."""
    known: dict[Any, Any] = {}
    return [known.setdefault(text, text) for text in column.to_pylist()]


def _spacings(manifest: pa.Table) -> list[Spacing]:
    # manifests of older commits, which `medscreen reproduce` reads, have no spacings
    if _SPACING[0] not in manifest.column_names:
        return []
    rows, columns = (manifest[name].to_pylist() for name in _SPACING)
    return [None if row is None else (row, column) for row, column in zip(rows, columns, strict=True)]


def _split_of(manifest: pa.Table, folder: Path) -> str:
    """The split in the manifest's metadata; the folder's name for manifests of older commits, which have none."""
    named: bytes | None = (manifest.schema.metadata or {}).get(_SPLIT)
    return folder.name if named is None else named.decode()


def _display(manifest: pa.Table) -> DisplayParams:
    stated = (manifest.schema.metadata or {}).get(_DISPLAY)
    return FILE_DISPLAY if stated is None else DisplayParams.model_validate_json(stated)


def image_digest(image: NDArray[np.uint8]) -> str:
    """32 hexadecimal characters that identify an image by its size and pixels."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def set_digest(images: ImageSet) -> str:
    """32 hexadecimal characters that identify a set by its pixels, labels, patients and attributes, in order."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(str(images.pixels.shape).encode())
    for chunk in in_chunks(images.pixels, np.arange(len(images))):
        digest.update(np.ascontiguousarray(chunk).data)
    for array in (images.labels, images.patients):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(
        json.dumps({name: list(column) for name, column in images.attributes.items()}, sort_keys=True).encode()
    )
    return digest.hexdigest()
