"""A tree of DICOM files, with or without extensions, and a CSV table of labels.

The table names files, or patients whose images lie in the folder of their name: images/PATIENT/**.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from medscreen.config.datasets import DicomParams
from medscreen.data.dicom.series import SeriesHeader, read_series_header
from medscreen.data.pictures import is_picture
from medscreen.data.sources.file_trees import files_below, in_words, name_below
from medscreen.data.sources.label_tables import (
    MISSING_FILES,
    REPEATED_ROWS,
    Row,
    contradiction,
    file_below,
    read_table,
    require_patients,
    required_cell,
)
from medscreen.data.sources.labels import NormalLabels, label_key
from medscreen.data.sources.records import Record, Records
from medscreen.data.sources.slice_selection import SeriesFile, in_order, taken
from medscreen.data.sources.spelling import cleaned, in_lines, plain
from medscreen.errors import MedscreenError

_Key = TypeVar("_Key", str, Path)

_LOST_PATIENTS = "patients of the table without images"
_EMPTY = "(empty)"  # how the label of an empty cell is listed where the settings name "" as normal


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
    files, aside = files_below(images, root)
    if not files:
        raise MedscreenError(
            f"{images} holds no file{in_words(aside)}; put images there, or correct root and images in params.yaml."
        )
    return sorted({table, *files})


def read_records(params: DicomParams, root: Path) -> Records:
    """The records of the chosen slices of each series or, with a file column, of each file; sorted by place.

    Of rows that say the same of one patient or file the first counts. Files of the tree that are no DICOM, patients
    and rows without images, and images without a row are counted in the notes.

    Raises MedscreenError for a table that can't be read or contradicts itself, for a label that can't be taken as one,
    and where nothing it fits is an image.
    """
    table, images = root / params.table, root / params.images
    columns = params.columns
    named = [name for name in (columns.patient, columns.label, columns.file) if name is not None]
    rows = read_table(table, list(dict.fromkeys([*named, *params.traits.values()])))
    below, notes = files_below(images, root)
    files = [path for path in below if path != table]
    if columns.file is None:
        of_patient = _cases(params, table, ((plain(row[columns.patient]), row) for row in rows), notes)
        found = _files_of_patients(params, root, files, of_patient, notes)
    else:
        found = _files_of_rows(params, root, columns.file, rows, files, notes)
    findings = _findings(params, table, found, notes)
    headers = _images(params, found, notes)
    if not headers:
        raise MedscreenError(_nothing_found(images, list(found)))
    records = _records(params, root, found, findings, headers, notes)
    return Records(sorted(records, key=lambda record: (record.origin, record.frame or 0)), notes)


def _cases(
    params: DicomParams, table: Path, rows: Iterable[tuple[_Key, Row]], notes: Counter[str]
) -> dict[_Key, _Case]:
    """What the table says of each key, a patient or a file; raises MedscreenError for what contradicts itself."""
    cases: dict[_Key, _Case] = {}
    rows = list(rows)
    require_patients(table, (row for _, row in rows), params.columns.patient)
    empty_is_normal = "" in NormalLabels(params.normal_labels).named
    for key, row in rows:
        patient = required_cell(table, row, params.columns.patient)
        column = params.columns.label
        label = row[column].strip() if empty_is_normal else required_cell(table, row, column)
        case = _Case(
            row.line, patient, label, {n: cleaned(row[c]) for n, c in params.traits.items() if cleaned(row[c])}
        )
        first = cases.setdefault(key, case)
        if (plain(first.patient), label_key(first.label)) != (plain(patient), label_key(label)):
            what = "patient" if params.columns.file is None else "file"
            raise contradiction(table, first.line, row.line, what)
        notes[REPEATED_ROWS] += first is not case
    return cases


def _files_of_patients(
    params: DicomParams, root: Path, files: Sequence[Path], cases: Mapping[str, _Case], notes: Counter[str]
) -> dict[Path, _Case]:
    images = root / params.images
    found: dict[Path, _Case] = {}
    others: dict[Path, set[str]] = {}
    strangers = set()
    for path in files:
        folder, *inside = PurePosixPath(name_below(path, images)).parts
        if not inside:
            notes["files outside the patients' folders"] += 1
        elif (patient := plain(folder)) in cases:
            found[path] = cases[patient]
            others[path] = {plain(name) for name in inside[:-1]} - {patient}
        else:
            strangers.add(folder)
    lost = cases.keys() - {plain(case.patient) for case in found.values()}
    notes["files in a folder called like a patient without one, within another's"] = sum(
        not lost.isdisjoint(names) for names in others.values()
    )
    notes["patients' folders without a row in the table"] = len(strangers)
    notes[_LOST_PATIENTS] = len(lost)
    if not found:
        raise MedscreenError(
            f"No patient of {root / params.table} has a folder with files below {images}; correct columns and images "
            "in params.yaml."
        )
    return found


def _files_of_rows(
    params: DicomParams, root: Path, column: str, rows: Sequence[Row], files: Sequence[Path], notes: Counter[str]
) -> dict[Path, _Case]:
    table, images, there = root / params.table, root / params.images, set(files)
    named = [(path, row) for row in rows if (path := file_below(table, row, column, images)) in there]
    notes[MISSING_FILES] = len(rows) - len(named)
    found = _cases(params, table, named, notes)
    notes["files without a row in the table"] = len(there) - len(found)
    if not found:
        raise MedscreenError(
            f"No row of {table} names a file below {images} in column {column!r} (as in 17/slice.dcm, from that folder "
            "on); correct columns and images in params.yaml."
        )
    return found


def _images(params: DicomParams, found: Mapping[Path, _Case], notes: Counter[str]) -> list[SeriesFile]:
    """The files that are images by their header or, where a row or a name says so, that should be."""
    images = []
    for path in found:
        header = read_series_header(path)
        if header is None and params.columns.file is None and path.suffix.lower() != ".dcm":
            notes["files that are no DICOM"] += 1
        else:
            images.append((path, header or SeriesHeader(sound=False)))
    return images


def _records(
    params: DicomParams,
    root: Path,
    found: Mapping[Path, _Case],
    findings: Mapping[str, str],
    images: Sequence[SeriesFile],
    notes: Counter[str],
) -> Iterator[Record]:
    series: dict[tuple[str, str], list[SeriesFile]] = {}
    for path, header in images:
        # a row's file, and one that says nothing, is a series of its own: whoever decodes it says what is wrong with it
        alone = params.columns.file is not None or not header.sound
        name = str(path) if alone else header.series or str(path.parent)
        series.setdefault((found[path].patient, name), []).append((path, header))
    normal = NormalLabels(params.normal_labels)
    left = sum(len(header.frames) for _, header in images)
    for files in series.values():
        for path, frame in taken(in_order(files), params.slices):
            case, place = found[path], name_below(path, root)
            left -= 1
            yield Record(
                origin=place + ("" if frame is None else f"#{frame}"),
                image=path,
                patient=case.patient,
                label=normal.label(case.label),
                finding=findings[label_key(case.label)],
                traits=case.traits,
                frame=frame,
                display=params.display,
            )
    notes["slices of series that were not taken"] = left


def _nothing_found(images: Path, files: Sequence[Path]) -> str:
    pictures = sum(map(is_picture, files))
    return (
        f"{images} holds {len(files)} files of the table's patients, none of them DICOM ({pictures} pictures, "
        f"{len(files) - pictures} others); put DICOM files there, or choose another kind of data set in params.yaml."
    )


def _findings(
    params: DicomParams, table: Path, found: Mapping[Path, _Case], notes: Mapping[str, int]
) -> dict[str, str]:
    """Each label of the images, by what its spellings have in common, as the table's first line with it spells it.

    Raises MedscreenError for a normal label that no image has, and for one that is neither named as normal nor clearly
    another.
    """
    cases = sorted({case.line: case for case in found.values()}.items())
    lines: dict[str, list[int]] = {}
    spelled: dict[str, str] = {}
    for line, case in cases:
        lines.setdefault(label_key(case.label), []).append(line)
        spelled.setdefault(label_key(case.label), cleaned(case.label) or _EMPTY)
    column, normal = params.columns.label, NormalLabels(params.normal_labels)
    for key, name in normal.named.items():
        if key not in spelled:
            lost = {what: notes[what] for what in (MISSING_FILES, _LOST_PATIENTS) if notes[what]}
            first = f"put the missing files there{in_words(Counter(lost))}, or " if lost else ""
            raise MedscreenError(
                f"{table} gives no image the label {name!r} in column {column!r}, which has {len(spelled)} other "
                f"values for them; {first}correct normal_labels or columns in params.yaml."
            )
    for key in spelled:
        if doubt := normal.doubt(key):
            raise MedscreenError(
                f"{table}, {in_lines(lines[key])}: its {column} {doubt}; correct it there, take the row out, or name "
                "it in normal_labels in params.yaml."
            )
    return spelled
