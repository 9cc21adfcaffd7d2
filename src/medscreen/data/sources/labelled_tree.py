"""A folder of image files with a labels.csv: columns `file`, `patient`, `label`.

Columns `finding`, `sex`, `age`, `site` and `scanner` are taken along where they are there.
"""

from pathlib import Path

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
from medscreen.data.sources.records import Record, Records
from medscreen.errors import MedscreenError

TABLE = "labels.csv"
_COLUMNS = ("file", "patient", "label")
_TRAITS = ("sex", "age", "site", "scanner")


def read_records(root: Path) -> Records:
    """One record a file that the table names, sorted by file; rows without one, or that repeat one, are in the notes.

    Raises MedscreenError for a missing table or column, for a table that names no file below `root` or contradicts
    itself, and for a label that is neither 0 nor 1.
    """
    table = root / TABLE
    rows = read_table(table, _COLUMNS, ("finding", *_TRAITS))
    found = [(image, row) for row in rows if (image := _image(root, table, row)) is not None]
    if not found:
        raise MedscreenError(f"{table} names no file below {root}; correct its column file, or put the files there.")
    require_patients(table, (row for _, row in found), "patient")
    first: dict[Path, Row] = {}
    for image, row in found:
        known = first.setdefault(image, row)
        if any(known[column] != row[column] for column in ("patient", "label")):
            raise contradiction(table, known.line, row.line, "file")
    notes = {MISSING_FILES: len(rows) - len(found), REPEATED_ROWS: len(found) - len(first)}
    return Records(
        (_record(image, row) for image, row in sorted(first.items(), key=lambda pair: pair[1]["file"])), notes
    )


def _image(root: Path, table: Path, row: Row) -> Path | None:
    """The row's file; raises MedscreenError for a row that does not say file, patient and label."""
    for column in _COLUMNS:
        required_cell(table, row, column)
    if row["label"] not in {"0", "1"}:
        raise MedscreenError(f"{table}, line {row.line}: its label has to be 0 (normal) or 1 (abnormal); correct it.")
    return file_below(table, row, "file", root)


def _record(image: Path, row: Row) -> Record:
    return Record(
        origin=row["file"],
        image=image,
        patient=row["patient"],
        label=int(row["label"]),
        finding=row.get("finding") or ("normal", "abnormal")[int(row["label"])],
        traits={name: row[name].strip() for name in _TRAITS if row.get(name)},
    )
