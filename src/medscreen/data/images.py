"""A set of labelled images on disk: one memory-mapped array and one columnar manifest."""

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

# Arrow's own allocator keeps ten times the memory of a manifest once it has written or read one
pa.set_memory_pool(pa.system_memory_pool())

FINDING = "finding"
"""The attribute that names what makes an image abnormal."""
DEVELOPMENT = ("train", "tune", "val")
TEST = "test"
SPLITS = (*DEVELOPMENT, TEST)
Pixels = NDArray[np.uint8]
"""Images as one array: (number, height, width), display grey 0 to 255."""

_AT_ONCE, _PIXELS_AT_ONCE = 32, 32 * 128**2  # what one pass of a network takes: more is no faster
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CHUNK_BYTES = 1 << 19  # as floats of 64 bits it is eight times that
_ATTRIBUTE, _DICOM = "trait:", "dicom:"  # prefixes of columns; another one would lose the attributes of curated data
_SPACING = ("spacing_row", "spacing_column")
_DISPLAY, _SPLIT = b"display", b"split"  # under which a manifest's schema carries the settings, and whose it is
Spacing = tuple[float, float] | None
"""Millimetres between rows and between columns of the full-size image; None where they are not known."""


@dataclass(frozen=True)
class ImageSet:
    """Images with what is known of each; all arrays have one entry an image.

    `labels`: 0 normal, 1 abnormal. `patients`: numbers that stand for a person within this data set only.
    `origins`: the file below the data set's root (and the index inside it) that the image came from. `digests`: of the
    full-size image, by which another curation, of whatever size, knows it again. `attributes`: what else is known, by
    name and as text, "" where it is not known of an image: `finding`, sex, age, site. `spacings`: of each image, or
    none at all. `display`: how DICOM became these pixels. `dicom`: what DICOM states of each image, `modality` and
    `body part`, "" where it does not and None of another kind of file; empty without DICOM.
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
        """The images labelled normal."""
        return self.take(self.labels == 0)


def batches(number: int, side: int) -> Iterator[slice]:
    """Cuts a row of so many images of `side` x `side` pixels into pieces that networks take at once."""
    at_once = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // side**2))
    return (slice(start, start + at_once) for start in range(0, number, at_once))


def save_images(images: ImageSet, index: NDArray[np.int64], folder: Path, split: str = "") -> None:
    """Writes the images at these positions to `folder`, a chunk at a time; equal input gives equal bytes.

    `split`, which the manifest names, is what `load_images` knows the test split by.
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
    """A new .npy file of zeros, memory-mapped, with room on the disk for all of it.

    Raises MedscreenError, and leaves no file, where there is not or it can't be written: a disk that fills up later
    ends a process that writes to a mapped file by a signal.
    """
    try:
        array: np.memmap[Any, Any] = open_memmap(path, mode="w+", dtype=kind, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in _FULL:
            raise MedscreenError(f"{path} can't be written: {error.strerror}; see to its folder.") from error
        needed = int(np.prod(shape)) * np.dtype(kind).itemsize
        raise MedscreenError(
            f"{path}: there is no room for its {needed:,} bytes ({error.strerror}); free some on that disk."
        ) from error
    return array


def in_chunks(pixels: Pixels, positions: NDArray[np.int64]) -> Iterator[Pixels]:
    """The images at these positions, copied, some at a time; of a mapped file no more than that stays in memory."""
    step = max(1, _CHUNK_BYTES // max(1, int(np.prod(pixels.shape[1:]))))
    for start in range(0, len(positions), step):
        yield np.asarray(pixels[positions[start : start + step]])
        forget(pixels)


def forget(pixels: NDArray[Any]) -> None:
    """Lets the system take back the memory of a mapped file, which counts as this process's until then."""
    mapped = getattr(pixels, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


_test_is_open: ContextVar[bool] = ContextVar("test_is_open", default=False)


@contextmanager
def open_test_split() -> Iterator[None]:
    """Within this context, `load_images` reads the test split.

    For the stages `curate`, which writes it, and `evaluate`, and for commands that compare digests: no setting may be
    chosen on it. A test holds the list of the modules that use this function.
    """
    token = _test_is_open.set(True)
    try:
        yield
    finally:
        _test_is_open.reset(token)


def load_images(folder: Path) -> ImageSet:
    """Image set written by `save_images`, the pixels memory-mapped.

    Raises MedscreenError where there is none, and for the test split outside `open_test_split`, wherever it lies.
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
    """The images of a split of the workspace, the pixels memory-mapped.

    Raises MedscreenError where there are none, and where they are not those that reports/curation.json names: DVC takes
    an object of its cache or its remote for what its name says, whatever it holds.
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
        "reports/curation.json names. Remove it and what `dvc cache dir` holds of it (`medscreen verify` names damaged "
        "objects), then run `dvc repro`, or `dvc pull` where a remote has it."
    )


def _curated_digest(layout: Layout, split: str, unknown: str) -> str:
    """Digest of a split in the audit; `unknown` without an audit, or with one that has no digests."""
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
    """Of few different texts one each, not one a row."""
    known: dict[Any, Any] = {}
    return [known.setdefault(text, text) for text in column.to_pylist()]


def _spacings(manifest: pa.Table) -> list[Spacing]:
    # a manifest of an older commit, which `medscreen reproduce` reads, says nothing of it
    if _SPACING[0] not in manifest.column_names:
        return []
    rows, columns = (manifest[name].to_pylist() for name in _SPACING)
    return [None if row is None else (row, column) for row, column in zip(rows, columns, strict=True)]


def _split_of(manifest: pa.Table, folder: Path) -> str:
    """A manifest of an older commit does not name its split; its folder does."""
    named: bytes | None = (manifest.schema.metadata or {}).get(_SPLIT)
    return folder.name if named is None else named.decode()


def _display(manifest: pa.Table) -> DisplayParams:
    stated = (manifest.schema.metadata or {}).get(_DISPLAY)
    return FILE_DISPLAY if stated is None else DisplayParams.model_validate_json(stated)


def image_digest(image: NDArray[np.uint8]) -> str:
    """32 hexadecimal characters, of the image's size and pixels."""
    digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def set_digest(images: ImageSet) -> str:
    """32 hexadecimal characters for a whole set: its pixels, labels, patients and attributes in their order."""
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
