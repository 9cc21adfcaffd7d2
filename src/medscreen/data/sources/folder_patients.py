"""Patients of images in class folders, from a table beside them or from file names: of all images, or of none.

If the patients of some images only were known, images of one patient could be in two splits.
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
    """File -> patient, and notes; empty if there is neither a table nor a pattern.

    Raises MedscreenError if there are both, if a patient is known for some of the images only, or if the table gives
    one file two patients. Files that are not images, which curation quarantines, need no patient.
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
            f"{table} has no patient for {unknown} of the {len(files)} files in class folders"
            f"{_first_stray(rows, set(names.values()))}. Add a row for each, with its patient and its path below "
            f"{root}, or move the table out of root if patients are unknown."
        )
    return known, {f"rows of {TABLE} without a file": len(row_of) - len(known)}


def _first_stray(rows: Sequence[Row], names: Collection[str]) -> str:
    for row in rows:
        if cleaned(row["file"]) not in names:
            return f" (line {row.line} names a file that does not exist)"
        if not plain(row["patient"]):
            return f" (line {row.line} has no patient)"
    return ""


def _by_names(pattern: str, root: Path, files: Sequence[Path]) -> dict[Path, str]:
    found = {path: re.search(pattern, name_below(path, path.parent)) for path in files}
    known = {path: match[1] for path, match in found.items() if match and match[1]}
    if unknown := _images_without(known, files):
        raise MedscreenError(
            f"patient_pattern {pattern!r} finds no patient in the names of {unknown} of the {len(files)} files in "
            rf"class folders below {root}. Widen it (for instance '^(\d+_|.+)', which takes the whole name if it does "
            "not begin with a number), or set it to null in params.yaml."
        )
    return known


def _images_without(known: Mapping[Path, str], files: Sequence[Path]) -> int:
    return sum(is_image(path) for path in files if path not in known)
