"""A folder of image files with a labels.csv: columns `file`, `patient`, `label`.

Columns `finding`, `sex`, `age`, `site` and `scanner` are taken along where they are there.
"""

from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.sources.records import Record, Records
from medscreen.sources.tables import Row, file_below, read_table, required_cell

TABLE = "labels.csv"
_COLUMNS = ("file", "patient", "label")
_TRAITS = ("sex", "age", "site", "scanner")


def read_records(root: Path) -> Records:
    """One record a row of the table, sorted by file.

    Raises MedscreenError for a missing table, column or file, and for a label that is neither 0 nor 1.
    """
    table = root / TABLE
    records = [_record(root, table, row) for row in read_table(table, _COLUMNS)]
    return Records(sorted(records, key=lambda record: record.origin))


def read_patients(root: Path) -> dict[str, str]:
    """File -> patient, from columns `file` and `patient` of the table below `root`; nothing where there is none.

    Raises MedscreenError for a table that can't be read, and where it gives one file two patients.
    """
    table = root / TABLE
    if not table.exists():
        return {}
    patients: dict[str, str] = {}
    for row in read_table(table, ("file", "patient")):
        file, patient = row["file"].strip(), row["patient"].strip()
        if patient and patients.setdefault(file, patient) != patient:
            raise MedscreenError(f"{table}, line {row.line}: its file has another patient further up; correct it.")
    return patients


def _record(root: Path, table: Path, row: Row) -> Record:
    for column in _COLUMNS:
        required_cell(table, row, column)
    if row["label"] not in {"0", "1"}:
        raise MedscreenError(
            f"{table} gives {row['file']} the label {row['label']!r}; use 0 for normal, 1 for abnormal."
        )
    return Record(
        origin=row["file"],
        image=file_below(table, row, "file", root),
        patient=row["patient"],
        label=int(row["label"]),
        finding=row.cells.get("finding") or ("normal", "abnormal")[int(row["label"])],
        traits={name: row[name].strip() for name in _TRAITS if row.cells.get(name)},
    )
