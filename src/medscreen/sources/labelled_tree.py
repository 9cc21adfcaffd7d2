"""A folder of image files with a labels.csv: columns `file`, `patient`, `label`.

Columns `finding`, `sex`, `age`, `site` and `scanner` are taken along where they are there.
"""

import csv
from pathlib import Path

from medscreen.errors import MedscreenError
from medscreen.sources.records import Record

TABLE = "labels.csv"
_COLUMNS = ("file", "patient", "label")
_TRAITS = ("sex", "age", "site", "scanner")


def read_records(root: Path) -> list[Record]:
    """One record a row of the table, sorted by file.

    Raises MedscreenError for a missing table, column or file, and for a label that is neither 0 nor 1.
    """
    table = root / TABLE
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise MedscreenError(f"{table} has no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}.")
            records = [_record(root, table, row) for row in reader]
    except FileNotFoundError as error:
        raise MedscreenError(f"{table} is missing: it names each image's file, patient and label.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise MedscreenError(f"{table} is no UTF-8 CSV table ({error}); save it as one.") from error
    if not records:
        raise MedscreenError(f"{table} lists no image; add a row for each.")
    return sorted(records, key=lambda record: record.origin)


def read_patients(root: Path) -> dict[str, str]:
    """File -> patient, from the table below `root` if it has both columns; nothing where there is none."""
    try:
        with (root / TABLE).open(newline="", encoding="utf-8-sig") as file:
            return {
                row["file"]: row["patient"] for row in csv.DictReader(file) if row.get("file") and row.get("patient")
            }
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}


def _record(root: Path, table: Path, row: dict[str, str]) -> Record:
    empty = [column for column in _COLUMNS if not (row[column] or "").strip()]
    if empty:
        raise MedscreenError(f"{table} has a row without a {empty[0]} ({row['file'] or 'no file'}); fill it in.")
    if row["label"] not in {"0", "1"}:
        raise MedscreenError(
            f"{table} gives {row['file']} the label {row['label']!r}; use 0 for normal, 1 for abnormal."
        )
    path = root / row["file"].replace("\0", "?")  # no file system has such a name, and Python raises
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        raise MedscreenError(f"{table} names {row['file']}, which is no file below {root}; correct the row.")
    return Record(
        origin=row["file"],
        image=path,
        patient=row["patient"],
        label=int(row["label"]),
        finding=row.get("finding") or ("normal", "abnormal")[int(row["label"])],
        traits={name: row[name].strip() for name in _TRAITS if row.get(name)},
    )
