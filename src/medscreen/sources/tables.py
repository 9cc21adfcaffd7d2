"""Tables that say whose an image is and what is seen in it: CSV with a header line."""

import csv
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from medscreen.errors import MedscreenError

MISSING_FILES = "rows of the table whose file is missing"
"""What a note calls them."""


@dataclass(frozen=True)
class Row:
    """A row of a table: the line of the file that it ends on (from 1), and column -> cell."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[column]


def read_table(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows of a UTF-8 CSV table; cells that a short row lacks are empty.

    Raises MedscreenError for a table that is missing, is none, is empty, or lacks one of `columns`. No message holds
    a cell: it could be a patient's.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _require_columns(path, list(reader.fieldnames or []), columns)
            rows = [Row(reader.line_num, {c: v or "" for c, v in row.items() if c is not None}) for row in reader]
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; put the table there, or correct params.yaml.") from error
    except UnicodeDecodeError as error:
        raise MedscreenError(
            f"{path} is no UTF-8 text (byte {error.start}); save the table as CSV in UTF-8."
        ) from error
    except csv.Error as error:
        raise MedscreenError(f"{path} is no CSV table ({error}); save it as CSV in UTF-8.") from error
    except OSError as error:
        raise MedscreenError(f"{path} can't be read ({error.strerror}); it has to be a table.") from error
    if not rows:
        raise MedscreenError(f"{path} has a header line and no row below it; add one for each image or patient.")
    return rows


def required_cell(path: Path, row: Row, column: str) -> str:
    """The cell without the blanks around it; raises MedscreenError that names the line if nothing is left."""
    cell = row[column].strip()
    if not cell:
        raise MedscreenError(f"{path} has a row without a {column} (line {row.line}); fill it in.")
    return cell


def file_below(path: Path, row: Row, column: str, folder: Path) -> Path | None:
    """The file below `folder` that a row names, by one path however it is spelled; None where there is none.

    Raises MedscreenError that names the line for what leads out of the folder: other drives, `..`, links.
    """
    name = required_cell(path, row, column).replace("\0", "?")  # of which no file has one, and Python raises
    home = folder.resolve()
    try:
        place = (folder / name).resolve()
        if place.is_relative_to(home) and not PureWindowsPath(name).drive:
            return folder / place.relative_to(home) if place.is_file() else None
    except (OSError, RuntimeError):  # a name too long, links in a circle
        return None
    raise MedscreenError(f"{path}, line {row.line}: its {column} leads out of {folder}; correct the row.")


def _require_columns(path: Path, header: list[str], columns: Collection[str]) -> None:
    for column in columns:
        if header.count(column) != 1:
            what = "two columns" if column in header else "no column"
            raise MedscreenError(
                f"{path} has {what} {column!r} in its first line; it needs {', '.join(columns)}, separated by commas."
            )
