"""A folder of image files with a labels.csv: columns `file`, `patient`, `label`.

Columns `finding`, `sex`, `age`, `site` and `scanner` are taken along where they are there.
"""

from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.sources.records import Record, Records
from medscreen.sources.tables import MISSING_FILES, Row, file_below, read_table, required_cell

TABLE = "labels.csv"
_COLUMNS = ("file", "patient", "label")
_TRAITS = ("sex", "age", "site", "scanner")


def read_records(root: Path) -> Records:
    """One record a row of the table whose file is there, sorted by file; other rows are counted in the notes.

    Raises MedscreenError for a missing table or column, for a table that names no file below `root`, and for a label
    that is neither 0 nor 1.
    """
    table = root / TABLE
    rows = read_table(table, _COLUMNS)
    records = [record for row in rows if (record := _record(root, table, row)) is not None]
    if not records:
        raise MedscreenError(f"{table} names no file below {root}; correct its column file, or put the files there.")
    notes = {MISSING_FILES: len(rows) - len(records)}
    return Records(sorted(records, key=lambda record: record.origin), notes)


def _record(root: Path, table: Path, row: Row) -> Record | None:
    for column in _COLUMNS:
        required_cell(table, row, column)
    if row["label"] not in {"0", "1"}:
        raise MedscreenError(f"{table}, line {row.line}: its label has to be 0 (normal) or 1 (abnormal); correct it.")
    image = file_below(table, row, "file", root)
    if image is None:
        return None
    return Record(
        origin=row["file"],
        image=image,
        patient=row["patient"],
        label=int(row["label"]),
        finding=row.cells.get("finding") or ("normal", "abnormal")[int(row["label"])],
        traits={name: row[name].strip() for name in _TRAITS if row.cells.get(name)},
    )
