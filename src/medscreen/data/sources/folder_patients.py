"""Patients of images in class folders, from a table beside them or from the files' names: of all images, or of none.

Were it known of some alone, a person could be on two sides of a split, once known and once not.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from medscreen.config.datasets import FoldersParams
from medscreen.data.load_image import is_image
from medscreen.data.sources.file_trees import name_below
from medscreen.data.sources.labels import cleaned, plain
from medscreen.data.sources.tables import Row, first_rows, read_table
from medscreen.errors import MedscreenError

TABLE = "labels.csv"


def find_patients(params: FoldersParams, root: Path, files: Sequence[Path]) -> tuple[dict[Path, str], dict[str, int]]:
    """File -> patient, and notes; nobody where there is neither a table nor a pattern.

    Raises MedscreenError where there are both, a patient is known for some of the images alone, or the table gives one
    file two patients. Files that are no images, which curation will quarantine, need no patient.
    """
    table, pattern = root / TABLE, params.patient_pattern
    if not table.is_file():
        return (_by_names(pattern, root, files) if pattern else {}), {}
    if pattern is not None:
        raise MedscreenError(
            f"{table} and patient_pattern in params.yaml both name patients, and one person may have two "
            "names; set patient_pattern to null, or move the table out of root."
        )
    rows = read_table(table, ("file", "patient"))
    named = [(cleaned(row["file"]), row) for row in rows if plain(row["patient"])]
    row_of = first_rows(table, named, "file", "patient")
    names = {path: cleaned(name_below(path, root)) for path in files}
    known = {path: row_of[name]["patient"].strip() for path, name in names.items() if name in row_of}
    if unknown := _images_without(known, files):
        raise MedscreenError(
            f"{table} does not say whose {unknown} of the {len(files)} files in class folders are"
            f"{_first_stray(rows, set(names.values()))}; give each a row with its patient, the "
            f"file named from {root} on, or move the table out of root if nobody knows."
        )
    return known, {f"rows of {TABLE} without a file": len(row_of) - len(known)}


def _first_stray(rows: Sequence[Row], names: Collection[str]) -> str:
    for row in rows:
        if cleaned(row["file"]) not in names:
            return f" (line {row.line} names no file that is there)"
        if not plain(row["patient"]):
            return f" (line {row.line} has no patient)"
    return ""


def _by_names(pattern: str, root: Path, files: Sequence[Path]) -> dict[Path, str]:
    found = {path: re.search(pattern, name_below(path, path.parent)) for path in files}
    known = {path: match[1] for path, match in found.items() if match and match[1]}
    if unknown := _images_without(known, files):
        raise MedscreenError(
            f"patient_pattern {pattern!r} finds no patient in the names of {unknown} of the {len(files)} files in "
            rf"class folders below {root}; widen it, as '^(\d+_|.+)' takes the whole name where no number leads it, or "
            "set it to null in params.yaml."
        )
    return known


def _images_without(known: Mapping[Path, str], files: Sequence[Path]) -> int:
    return sum(is_image(path) for path in files if path not in known)
