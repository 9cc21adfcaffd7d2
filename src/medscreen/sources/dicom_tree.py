"""A tree of DICOM files, with or without extensions, and a CSV table of labels.

The table names files, or patients whose images lie in the folder of their name: images/PATIENT/**.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from medscreen.errors import MedscreenError
from medscreen.params import AllSlices, DicomParams, MiddleSlice, SlicesParams, SpacedSlices
from medscreen.sources.dicom_headers import Header, in_order, read_header
from medscreen.sources.records import Record, Records
from medscreen.sources.tables import Row, file_below, read_table, required_cell
from medscreen.sources.trees import files_below, left_behind

_Key = TypeVar("_Key", str, Path)


@dataclass(frozen=True)
class _Case:
    """What a row of the table says of a patient or of a file."""

    line: int
    patient: str
    label: str
    traits: Mapping[str, str]


def find_files(params: DicomParams, root: Path) -> list[Path]:
    """The table and every file below the folder of images, sorted; raises MedscreenError if either is missing."""
    table, images = root / params.table, root / params.images
    if not table.is_file():
        raise MedscreenError(f"{table} is missing; put it there, or correct root and table in params.yaml.")
    files, _ = files_below(images)
    if not files:
        raise MedscreenError(f"{images} holds no file; put images there, or correct root and images in params.yaml.")
    return sorted({table, *files})


def read_records(params: DicomParams, root: Path) -> Records:
    """The records of the chosen slices of each series, sorted by place.

    Of rows that say the same of one patient or file the first counts. Files of the tree that are no DICOM, patients
    without images, and images without a row are counted in the notes.

    Raises MedscreenError for a table that can't be read or contradicts itself, and where it fits no image.
    """
    table, images = root / params.table, root / params.images
    columns, notes = params.columns, Counter[str]()
    named = [name for name in (columns.patient, columns.label, columns.file) if name is not None]
    rows = read_table(table, list(dict.fromkeys([*named, *params.traits.values()])))
    if columns.file is None:
        of_patient = _cases(params, table, {row.line: row[columns.patient].strip() for row in rows}, rows, notes)
        found = _files_of_patients(images, of_patient, notes)
    else:
        paths = {row.line: file_below(table, row, columns.file, images) for row in rows}
        found = _cases(params, table, paths, rows, notes)
        below, aside = files_below(images)
        notes.update(aside)
        notes["files without a row in the table"] = len(set(below) - found.keys() - {table})
    if not found:
        raise MedscreenError(
            f"No patient of {table} has a folder with files below {images}; correct columns and images in params.yaml."
        )
    _require_normal_label(params, table, found)
    records = _records(params, root, found, notes)
    return Records(sorted(records, key=lambda record: (record.origin, record.frame or 0)), notes)


def _cases(
    params: DicomParams, table: Path, key_of: Mapping[int, _Key], rows: list[Row], notes: Counter[str]
) -> dict[_Key, _Case]:
    """What the table says of each key (by line of the table); raises MedscreenError for what contradicts itself."""
    cases: dict[_Key, _Case] = {}
    for row in rows:
        patient = required_cell(table, row, params.columns.patient)
        label = required_cell(table, row, params.columns.label)
        case = _Case(row.line, patient, label, {n: row[c].strip() for n, c in params.traits.items() if row[c].strip()})
        first = cases.setdefault(key_of[row.line], case)
        if (first.patient, _folded(first.label)) != (patient, _folded(label)):
            raise MedscreenError(
                f"{table}, line {row.line}: it contradicts line {first.line}, which gives the same "
                f"{'patient' if params.columns.file is None else 'file'} another label or patient; correct one of them."
            )
        notes["rows that repeat another"] += first is not case
    return cases


def _files_of_patients(images: Path, cases: Mapping[str, _Case], notes: Counter[str]) -> dict[Path, _Case]:
    files: dict[Path, _Case] = {}
    folders = sorted(path for path in images.iterdir() if path.is_dir() and not left_behind(path.name))
    seen = 0
    for folder in folders:
        if folder.name not in cases:
            notes["patients' folders without a row in the table"] += 1
            continue
        below, aside = files_below(folder)
        notes.update(aside)
        seen += bool(below)
        files |= dict.fromkeys(below, cases[folder.name])
    notes["patients of the table without images"] = len(cases) - seen
    return files


def _records(params: DicomParams, root: Path, found: Mapping[Path, _Case], notes: Counter[str]) -> Iterator[Record]:
    series: dict[tuple[str, str], list[tuple[Path, Header]]] = {}
    for path in found:
        header = read_header(path)
        if header is None and params.columns.file is None and path.suffix.lower() != ".dcm":
            notes["files that are no DICOM"] += 1
            continue
        # a file that says nothing of a series is one of its own: whoever decodes it says what is wrong with it
        name = header.series if header else ""
        series.setdefault((found[path].patient, name or str(path)), []).append((path, header or Header()))
    normal = {_folded(str(label)) for label in params.normal_labels}
    for files in series.values():
        for path, frame in _taken(in_order(files), params.slices, notes):
            case, place = found[path], path.relative_to(root)
            yield Record(
                origin=place.as_posix() + ("" if frame is None else f"#{frame}"),
                image=path,
                patient=case.patient,
                label=int(_folded(case.label) not in normal),
                finding=case.label,
                traits=case.traits,
                frame=frame,
                display=params.display,
            )


def _taken(
    files: list[tuple[Path, Header]], slices: SlicesParams, notes: Counter[str]
) -> Iterator[tuple[Path, int | None]]:
    """File and frame (None where the file has but one) of the slices that are taken of a series."""
    ends = [0]
    for _, header in files:
        ends.append(ends[-1] + header.frames)
    number = ends[-1]
    match slices:
        case MiddleSlice():
            wanted = {number // 2}
        case SpacedSlices():
            share = min(slices.number, number)
            wanted = {(2 * i + 1) * number // (2 * share) for i in range(share)}
        case AllSlices():
            wanted = set(range(number))
    notes["slices of series that were not taken"] += number - len(wanted)
    for (path, header), start in zip(files, ends, strict=False):
        for frame in range(header.frames):
            if start + frame in wanted:
                yield path, frame if header.frames > 1 else None


def _require_normal_label(params: DicomParams, table: Path, found: Mapping[Path, _Case]) -> None:
    labels = {_folded(case.label) for case in found.values()}
    for label in params.normal_labels:
        if _folded(str(label)) not in labels:
            raise MedscreenError(
                f"{table} gives no image the label {label!r} in column {params.columns.label!r}, which has "
                f"{len(labels)} other values; correct normal_labels or columns in params.yaml."
            )


def _folded(label: str) -> str:
    """A label without what spellings of it differ in: case, and how a number is written (0, 0.0)."""
    try:
        return str(float(label))
    except ValueError:
        return label.casefold()
