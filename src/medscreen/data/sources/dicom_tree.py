"""A tree of DICOM files, with or without extensions, and a CSV table of labels.

The table names files, or patients whose images lie in the folder of their name: images/PATIENT/**.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from medscreen.config.datasets import DicomParams
from medscreen.data.dicom.series import SeriesHeader, read_series_header
from medscreen.data.pictures import is_picture
from medscreen.data.sources.file_trees import files_below, in_words, name_below
from medscreen.data.sources.labels import NormalLabels, cleaned, label_key, plain
from medscreen.data.sources.records import Record, Records
from medscreen.data.sources.slice_selection import SeriesFile, in_order, taken
from medscreen.data.sources.tables import (
    MISSING_FILES,
    REPEATED_ROWS,
    Row,
    contradiction,
    file_below,
    in_lines,
    read_table,
    require_patients,
    required_cell,
)
from medscreen.errors import MedscreenError

_Key = TypeVar("_Key", str, Path)

_LOST_PATIENTS = "patients of the table without images"
_EMPTY = "(empty)"  # how the label of an empty cell is listed where the settings name "" as normal


def find_files(params: DicomParams, root: Path) -> list[Path]:
    """The table and every file below the folder of images, sorted; raises MedscreenError if either is missing."""
    table, images = root / params.table, root / params.images
    if not table.is_file():
        raise MedscreenError(f"{table} is missing; put it there, or correct root and table in params.yaml.")
    files, aside = files_below(images, root)
    if not files:
        raise MedscreenError(
            f"{images} holds no file{in_words(aside)}; put images there, or correct root and images in params.yaml."
        )
    return sorted({table, *files})


def read_records(params: DicomParams, root: Path, finding: str | None = None) -> Records:
    """The records of the chosen slices of each series or, with a file column, of each file; sorted by place.

    Of rows that agree on one patient or file the first counts. Files of the tree that are no DICOM, patients and rows
    without images, and images without a row are counted in the notes. `finding`: the column of the findings, where it
    is another than that of the labels.

    Raises MedscreenError for a table that can't be read or contradicts itself, for a label that can't be taken as one,
    and where nothing it fits is an image.
    """
    table, images, columns = root / params.table, root / params.images, params.columns
    named = [columns.patient, columns.label, columns.file, finding, *params.traits.values()]
    rows = read_table(table, list(dict.fromkeys(name for name in named if name is not None)))
    below, notes = files_below(images, root)
    files = [path for path in below if path != table]
    if columns.file is None:
        found = _files_of_patients(params, root, files, rows, notes)
    else:
        found = _files_of_rows(params, root, columns.file, files, rows, notes)
    names = _names_of_labels(params, table, found.values(), notes)
    normal = NormalLabels(params.normal_labels)
    headers = _images(params, found, notes)
    chosen = list(_slices(params, found, headers))
    notes["slices of series that were not taken"] = sum(len(header.frames) for _, header in headers) - len(chosen)
    records = []
    for path, frame in chosen:
        row = found[path]
        label = row[columns.label]
        records.append(
            Record(
                origin=name_below(path, root) + ("" if frame is None else f"#{frame}"),
                image=path,
                patient=row[columns.patient].strip(),
                label=normal.label(label),
                finding=cleaned(row[finding]) if finding else names[label_key(label)],
                traits={name: cell for name, column in params.traits.items() if (cell := cleaned(row[column]))},
                frame=frame,
                display=params.display,
            )
        )
    return Records(sorted(records, key=lambda record: (record.origin, record.frame or 0)), notes)


def _first_rows(
    params: DicomParams, table: Path, rows: Sequence[tuple[_Key, Row]], notes: Counter[str]
) -> dict[_Key, Row]:
    """The first row of each key, a patient or a file; raises MedscreenError for empty cells and contradictions."""
    patient, label = params.columns.patient, params.columns.label
    require_patients(table, (row for _, row in rows), patient)
    required = [patient] if "" in NormalLabels(params.normal_labels).named else [patient, label]
    found: dict[_Key, Row] = {}
    for key, row in rows:
        for column in required:
            required_cell(table, row, column)
        first = found.setdefault(key, row)
        if (plain(first[patient]), label_key(first[label])) != (plain(row[patient]), label_key(row[label])):
            raise contradiction(table, first, row, "patient" if params.columns.file is None else "file")
    notes[REPEATED_ROWS] = len(rows) - len(found)
    return found


def _files_of_patients(
    params: DicomParams, root: Path, files: Sequence[Path], rows: Sequence[Row], notes: Counter[str]
) -> dict[Path, Row]:
    table, images, column = root / params.table, root / params.images, params.columns.patient
    row_of = _first_rows(params, table, [(plain(row[column]), row) for row in rows], notes)
    found: dict[Path, Row] = {}
    within: dict[Path, set[str]] = {}
    strangers = set()
    for path in files:
        folder, *inside = PurePosixPath(name_below(path, images)).parts
        if not inside:
            notes["files outside the patients' folders"] += 1
        elif plain(folder) in row_of:
            found[path] = row_of[plain(folder)]
            within[path] = set(map(plain, inside[:-1]))
        else:
            strangers.add(folder)
    lost = row_of.keys() - {plain(row[column]) for row in found.values()}
    notes["files in a folder called like a patient without one, within another's"] = sum(
        not lost.isdisjoint(names) for names in within.values()
    )
    notes["patients' folders without a row in the table"] = len(strangers)
    notes[_LOST_PATIENTS] = len(lost)
    if not found:
        raise MedscreenError(
            f"No patient of {table} has a folder with files below {images}; correct columns and images in params.yaml."
        )
    return found


def _files_of_rows(
    params: DicomParams, root: Path, column: str, files: Sequence[Path], rows: Sequence[Row], notes: Counter[str]
) -> dict[Path, Row]:
    table, images, there = root / params.table, root / params.images, set(files)
    named = [(path, row) for row in rows if (path := file_below(table, row, column, images)) in there]
    notes[MISSING_FILES] = len(rows) - len(named)
    found = _first_rows(params, table, named, notes)
    notes["files without a row in the table"] = len(there) - len(found)
    if not found:
        raise MedscreenError(
            f"No row of {table} names a file below {images} in column {column!r} (as in 17/slice.dcm, from that folder "
            "on); correct columns and images in params.yaml."
        )
    return found


def _images(params: DicomParams, found: Mapping[Path, Row], notes: Counter[str]) -> list[SeriesFile]:
    """The files that are images by their header or, where a row or a name states so, that should be."""
    images = []
    for path in found:
        header = read_series_header(path)
        if header is None and params.columns.file is None and path.suffix.lower() != ".dcm":
            notes["files that are no DICOM"] += 1
        else:
            images.append((path, header or SeriesHeader(sound=False)))
    if not images:
        pictures = sum(map(is_picture, found))
        raise MedscreenError(
            f"{params.images} holds {len(found)} files of the table's patients, none of them DICOM ({pictures} "
            f"pictures, {len(found) - pictures} others); put DICOM files there, or choose another kind of data set in "
            "params.yaml."
        )
    return images


def _slices(
    params: DicomParams, found: Mapping[Path, Row], images: Sequence[SeriesFile]
) -> Iterator[tuple[Path, int | None]]:
    """File and frame of each slice that is taken of a patient's series."""
    series: dict[tuple[str, str], list[SeriesFile]] = {}
    for path, header in images:
        # a row's file is a series of its own, and so is an unreadable one: its decoding states what is wrong
        alone = params.columns.file is not None or not header.sound
        name = str(path) if alone else header.series or str(path.parent)
        series.setdefault((plain(found[path][params.columns.patient]), name), []).append((path, header))
    for files in series.values():
        yield from taken(in_order(files), params.slices)


def _names_of_labels(params: DicomParams, table: Path, rows: Iterable[Row], notes: Mapping[str, int]) -> dict[str, str]:
    """Each label of the images, by what its spellings have in common, as the table's first line with it spells it.

    Raises MedscreenError for a normal label that no image has, and for one that is neither named as normal nor clearly
    another.
    """
    column, normal = params.columns.label, NormalLabels(params.normal_labels)
    lines: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for line, label in sorted({row.line: row[column] for row in rows}.items()):
        lines.setdefault(label_key(label), []).append(line)
        names.setdefault(label_key(label), cleaned(label) or _EMPTY)
    for key, name in normal.named.items():
        if key not in names:
            lost = Counter({what: notes[what] for what in (MISSING_FILES, _LOST_PATIENTS) if notes[what]})
            first = f"put the missing files there{in_words(lost)}, or " if lost else ""
            raise MedscreenError(
                f"{table} gives no image the label {name!r} in column {column!r}, which has {len(names)} other "
                f"values for them; {first}correct normal_labels or columns in params.yaml."
            )
    for key, at in lines.items():
        if doubt := normal.doubt(key):
            raise MedscreenError(
                f"{table}, {in_lines(at)}: its {column} {doubt}; correct it there, take the row out, or name it in "
                "normal_labels in params.yaml."
            )
    return names
