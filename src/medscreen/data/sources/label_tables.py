"""Tables that say whose an image is and what is seen in it: CSV with a header line."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from medscreen.data.sources.csv_lines import Line, csv_lines, require_no_row_inside, table_text
from medscreen.data.sources.labels import stands_for_missing
from medscreen.data.sources.spelling import in_lines, plain
from medscreen.errors import MedscreenError

MISSING_FILES = "rows of the table whose file is missing"
"""What a note calls them."""
REPEATED_ROWS = "rows that repeat another"
"""What a note calls them."""

_SUFFIXES = ("", ".dcm", ".dicom", ".DCM")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True)
class Row:
    """A row of a table: the line of the file that it begins on (from 1), and column -> cell, by any spelling of it."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[plain(column)]

    def get(self, column: str) -> str:
        """The cell of a column that the table may lack; "" where it does."""
        return self.cells.get(plain(column), "")


def read_table(path: Path, columns: Collection[str], optional: Collection[str] = ()) -> list[Row]:
    """The rows of a UTF-8 CSV table, of which blank ones don't count.

    Raises MedscreenError for a table that is missing, is none, is empty, lacks one of `columns` or has one of them or
    of `optional` twice, and for a row that has more or fewer cells than the first line, or may hold other rows. No
    message holds a cell: it could be a patient's.
    """
    found = csv_lines(path, table_text(path))
    begin = next(found, Line(1, []))
    header = Line(begin.number, _without_empty_end(begin.cells))
    _require_columns(path, header, columns, optional)
    lines = [Line(line.number, _cells(path, line, header)) for line in found]
    if not lines:
        raise MedscreenError(f"{path} has a header line and no row below it; add one for each image or patient.")
    names = [plain(name) for name in header.cells]
    require_no_row_inside(path, [header, *lines], {names.index(plain(column)) for column in columns})
    rows = [Row(line.number, dict(zip(names, line.cells, strict=True))) for line in lines]
    _require_no_header_inside(path, rows, columns)
    return rows


def required_cell(path: Path, row: Row, column: str) -> str:
    """The cell without the blanks around it; raises MedscreenError that names the line if nothing is left."""
    cell = row[column].strip()
    if not plain(cell):
        raise MedscreenError(f"{path} has a row without a {column} (line {row.line}); fill it in.")
    return cell


def require_patients(path: Path, rows: Iterable[Row], column: str) -> None:
    """Raises MedscreenError that names the lines where a patient is a word for a missing value: no two are one."""
    if lines := [row.line for row in rows if stands_for_missing(row[column])]:
        raise MedscreenError(
            f"{path}, {in_lines(lines)}: its {column} stands for a missing value, and would be one patient; put a "
            "patient there, or take the row out."
        )


def file_below(path: Path, row: Row, column: str, folder: Path) -> Path | None:
    """The file below `folder` that a row names, by one path however it is spelled; None where there is none.

    Raises MedscreenError that names the line for what leads out of the folder: other drives, `..`, links.
    """
    name = required_cell(path, row, column)
    home = folder.resolve()
    try:
        # tables are often composed (NFC) where macOS wrote decomposed names (NFD), and name DICOM files by their UID
        spelled = dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name)))
        forms = [(folder / (text + suffix)).resolve() for suffix in _SUFFIXES for text in spelled]
        place = next((place for place in forms if place.is_file()), forms[0])
        if place.is_relative_to(home) and not PureWindowsPath(name).drive:
            return folder / place.relative_to(home) if place.is_file() else None
    except (OSError, RuntimeError):  # a name too long, links in a circle
        return None
    raise MedscreenError(f"{path}, line {row.line}: its {column} leads out of {folder}; correct the row.")


def contradiction(path: Path, first: int, second: int, what: str) -> MedscreenError:
    """The refusal of a table whose two lines give one file or patient (`what`) different labels or patients."""
    return MedscreenError(
        f"{path}, line {second}: it contradicts line {first}, which gives the same {what} another label or patient; "
        "correct one of them."
    )


def _without_empty_end(cells: list[str]) -> list[str]:
    end = len(cells)
    while end and not plain(cells[end - 1]):
        end -= 1
    return cells[:end]


def _require_columns(path: Path, header: Line, columns: Collection[str], optional: Collection[str]) -> None:
    names = [plain(name) for name in header.cells]
    for column in dict.fromkeys([*columns, *optional]):
        number = names.count(plain(column))
        if number > 1 or (number < 1 and column in columns):
            what = "two columns" if number else "no column"
            found = [said for separator, said in _SEPARATORS.items() if separator in "".join(header.cells)]
            raise MedscreenError(
                f"{path} has {what} {column!r} in its first line; it needs {', '.join(columns)}, separated by commas"
                f"{f', not by {found[0]}' if found and not number else ''}."
            )


def _cells(path: Path, line: Line, header: Line) -> list[str]:
    """As many cells as the header has; raises MedscreenError for more, unless they are empty, and for fewer."""
    cells = line.cells if len(line.cells) == len(header.cells) else _without_empty_end(line.cells)
    missing = len(header.cells) - len(cells)
    # a row that writes all its commas may leave its last cells empty, and some beyond them
    if missing > 0 and len(line.cells) >= len(header.cells):
        return cells + [""] * missing
    if missing:
        raise MedscreenError(
            f"{path}, line {line.number}: it has {len(line.cells)} cells where line {header.number}, the header, has "
            f"{len(header.cells)}; put quotes around a cell that holds a comma, and write the commas of empty cells."
        )
    return cells


def _require_no_header_inside(path: Path, rows: Collection[Row], columns: Collection[str]) -> None:
    for row in rows:
        if all(plain(row[column]) == plain(column) for column in columns):
            raise MedscreenError(
                f"{path}, line {row.line}: it repeats the header, as two tables in one file do; see that both have the "
                "same columns in the same order, and take the line out."
            )
