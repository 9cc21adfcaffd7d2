"""A tree of DICOM files, with or without extensions, and a CSV table of labels.

The table names files, or patients whose images are in a folder of their name: images/PATIENT/**.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from medscreen.config.datasets import DicomParams
from medscreen.data.dicom.series import SeriesHeader, read_series_header
from medscreen.data.pictures import is_picture
from medscreen.data.sources import tables
from medscreen.data.sources.file_trees import files_below, in_words, name_below, required_files
from medscreen.data.sources.labels import NormalLabels, cleaned, label_key, plain
from medscreen.data.sources.records import Record, Records
from medscreen.data.sources.slice_selection import SeriesFile, in_order, taken
from medscreen.data.sources.tables import Row
from medscreen.errors import MedscreenError

_MISSING_FILES, _LOST_PATIENTS = "rows of the table whose file is missing", "patients of the table without images"
_EMPTY = "(empty)"  # name of the label of empty cells, if the settings name "" as normal


def find_files(params: DicomParams, root: Path) -> list[Path]:
    """The table and every file below the folder of images, sorted; raises MedscreenError if either is missing."""
    table = root / params.table
    if not table.is_file():
        raise MedscreenError(f"{table} is missing; put it there, or correct root and table in params.yaml.")
    files, _ = required_files(root / params.images, root, "images, or correct root and images")
    return sorted({table, *files})


def read_records(params: DicomParams, root: Path, finding: str | None = None) -> Records:
    """The records of the selected slices of each series or, with a file column, of each file; sorted by path.

    Of rows that agree on one patient or file the first is used. Files that are not DICOM, patients and rows without
    images, and images without a row are counted in the notes. `finding`: the column of the findings, if it is not that
    of the labels.

    Raises MedscreenError for a table that can't be read or contradicts itself, for an invalid label, and if no row has
    an image.
    """
    table, columns = root / params.table, params.columns
    named = [columns.patient, columns.label, columns.file, finding, *params.attributes.values()]
    rows = tables.read_table(table, list(dict.fromkeys(name for name in named if name is not None)))
    below, notes = files_below(root / params.images, root)
    find = _files_of_rows if columns.file else _files_of_patients
    found = find(params, root, [path for path in below if path != table], rows, notes)
    names = _names_of_labels(params, table, found.values(), notes)
    normal = NormalLabels(params.normal_labels)
    images = _images(params, found, notes)
    series: dict[tuple[str, str], list[SeriesFile]] = {}
    for path, header in images:
        # a file named by a row is a series, and so is an unreadable file: decoding it reports the reason
        alone = columns.file is not None or not header.sound
        name = str(path) if alone else header.series or str(path.parent)
        series.setdefault((plain(found[path][columns.patient]), name), []).append((path, header))
    records = [
        Record(
            origin=name_below(path, root) + ("" if frame is None else f"#{frame}"),
            image=path,
            patient=found[path][columns.patient].strip(),
            label=normal.label(found[path][columns.label]),
            finding=cleaned(found[path][finding]) if finding else names[label_key(found[path][columns.label])],
            attributes={
                name: cell for name, column in params.attributes.items() if (cell := cleaned(found[path][column]))
            },
            frame=frame,
            display=params.display,
        )
        for files in series.values()
        for path, frame in taken(in_order(files), params.slices)
    ]
    notes["slices of series that were not taken"] = sum(len(header.frames) for _, header in images) - len(records)
    return Records(sorted(records, key=lambda record: (record.origin, record.frame or 0)), notes)


def _first_rows(
    params: DicomParams, table: Path, rows: Sequence[tuple[Any, Row]], notes: Counter[str]
) -> dict[Any, Row]:
    columns = params.columns
    required = [columns.patient] if "" in NormalLabels(params.normal_labels).named else [columns.patient, columns.label]
    for _, row in rows:
        for column in required:
            tables.required_cell(table, row, column)
    what = "file" if columns.file else "patient"
    found = tables.first_rows(table, rows, what, columns.patient, columns.label)
    notes["rows that repeat another"] = len(rows) - len(found)
    return found


def _files_of_patients(
    params: DicomParams, root: Path, files: Sequence[Path], rows: Sequence[Row], notes: Counter[str]
) -> dict[Path, Row]:
    table, images, column = root / params.table, root / params.images, params.columns.patient
    row_of = _first_rows(params, table, [(plain(row[column]), row) for row in rows], notes)
    found: dict[Path, Row] = {}
    unlisted = set()
    parts = {path: [plain(name) for name in PurePosixPath(name_below(path, images)).parts] for path in files}
    for path, (folder, *inside) in parts.items():
        if not inside:
            notes["files outside the patients' folders"] += 1
        elif folder in row_of:
            found[path] = row_of[folder]
        else:
            unlisted.add(path.relative_to(images).parts[0])
    lost = row_of.keys() - {plain(row[column]) for row in found.values()}
    notes["files in a folder named like a patient without one, within another patient's"] = sum(
        not lost.isdisjoint(parts[path][1:-1]) for path in found
    )
    notes["patients' folders without a row in the table"] = len(unlisted)
    notes[_LOST_PATIENTS] = len(lost)
    if not found:
        raise MedscreenError(
            f"No patient of {table} has a folder with files below {images}; correct columns and images in params.yaml."
        )
    return found


def _files_of_rows(
    params: DicomParams, root: Path, files: Sequence[Path], rows: Sequence[Row], notes: Counter[str]
) -> dict[Path, Row]:
    table, images, column = root / params.table, root / params.images, params.columns.file or ""
    there = set(files)
    named = [(path, row) for row in rows if (path := tables.file_below(table, row, column, images)) in there]
    notes[_MISSING_FILES] = len(rows) - len(named)
    found: dict[Path, Row] = _first_rows(params, table, named, notes)
    notes["files without a row in the table"] = len(files) - len(found)
    if not found:
        raise MedscreenError(
            f"No row of {table} names a file below {images} in column {column!r} (as in 17/slice.dcm, from that folder "
            "on); correct columns and images in params.yaml."
        )
    return found


def _images(params: DicomParams, found: Iterable[Path], notes: Counter[str]) -> list[SeriesFile]:
    """The files that are images by their header, or should be by a row of the table or by their suffix."""
    headers = {path: read_series_header(path) for path in found}
    others = {p for p, h in headers.items() if not h and params.columns.file is None and p.suffix.lower() != ".dcm"}
    notes["files that are not DICOM"] = len(others)
    if len(others) == len(headers):
        pictures = sum(map(is_picture, others))
        raise MedscreenError(
            f"{params.images} holds {len(others)} files of the table's patients, none of them DICOM ({pictures} "
            f"pictures, {len(others) - pictures} others); put DICOM files there, or choose another kind of data set in "
            "params.yaml."
        )
    return [(path, header or SeriesHeader(sound=False)) for path, header in headers.items() if path not in others]


def _names_of_labels(params: DicomParams, table: Path, rows: Iterable[Row], notes: Mapping[str, int]) -> dict[str, str]:
    """Normalized label -> its first spelling in the table.

    Raises MedscreenError for a normal label that no image has, and for a label that is not named as normal but may be.
    """
    column, normal = params.columns.label, NormalLabels(params.normal_labels)
    lines: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for line, label in sorted({row.line: row[column] for row in rows}.items()):
        lines.setdefault(label_key(label), []).append(line)
        names.setdefault(label_key(label), cleaned(label) or _EMPTY)
    if absent := [name for key, name in normal.named.items() if key not in names]:
        lost = Counter({what: notes[what] for what in (_MISSING_FILES, _LOST_PATIENTS) if notes[what]})
        first = f"put the missing files there{in_words(lost)}, or " if lost else ""
        raise MedscreenError(
            f"{table} gives no image the label {absent[0]!r} in column {column!r}, which has {len(names)} other "
            f"values for them; {first}correct normal_labels or columns in params.yaml."
        )
    for key, at in lines.items():
        if doubt := normal.doubt(key):
            raise MedscreenError(
                f"{table}, {tables.in_lines(at)}: its {column} {doubt}; correct it there, remove the row, or name it "
                "in normal_labels in params.yaml."
            )
    return names
