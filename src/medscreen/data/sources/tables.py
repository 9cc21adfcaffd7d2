"""Tables of patients and labels: CSV with a header line, parsed strictly.

No cell is truncated or filled in, and no stray quote silently joins rows. Messages do not quote cells, which may
identify a patient.
"""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PureWindowsPath
from typing import TypeVar
from unicodedata import normalize

from medscreen.data.sources.labels import label_key, plain, stands_for_missing
from medscreen.errors import MedscreenError

_MOST_LINES = 5
_SUFFIXES = ("", ".dcm", ".dicom", ".DCM")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LINE_BREAK = re.compile(r"\r\n|\r|\n")

_Key = TypeVar("_Key", str, Path)
_Line = tuple[int, list[str]]
"""The line of the file that a header or row begins on (from 1), and its cells."""


@dataclass(frozen=True)
class Row:
    """A row of a table: its first line in the file (from 1), and column -> cell, for any spelling of the column."""

    line: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells[plain(column)]


def read_table(path: Path, columns: Collection[str]) -> list[Row]:
    """The rows of a UTF-8 CSV table without the blank ones.

    Raises MedscreenError for a file that is missing, not such a table or empty, or has one of `columns` not exactly
    once; and, with its line, for a row that has more or fewer cells than the header, or may contain other rows.
    """
    found = _lines(path)
    begin, cells_of_header = next(found, (1, []))
    header = _without_empty_end(cells_of_header)
    _require_columns(path, header, columns)
    lines = [(number, _cells(path, number, cells, begin, len(header))) for number, cells in found]
    if not lines:
        raise MedscreenError(f"{path} has a header line and no row below it; add one for each image or patient.")
    names = [plain(name) for name in header]
    _require_no_row_inside(path, [(begin, header), *lines], {names.index(plain(column)) for column in columns})
    rows = [Row(number, dict(zip(names, cells, strict=True))) for number, cells in lines]
    for row in rows:
        if all(plain(row[column]) == plain(column) for column in columns):
            raise MedscreenError(
                f"{path}, line {row.line}: it repeats the header. Remove it if the rows below have the same columns."
            )
    return rows


def required_cell(path: Path, row: Row, column: str) -> str:
    """The cell without outer blanks; raises MedscreenError with the line if it is empty."""
    if not plain(row[column]):
        raise MedscreenError(f"{path} has a row without a {column} (line {row.line}); fill it in.")
    return row[column].strip()


def first_rows(
    path: Path, rows: Sequence[tuple[_Key, Row]], what: str, patient: str, label: str | None = None
) -> dict[_Key, Row]:
    """The first row of each key, a file or a patient (`what`).

    Raises MedscreenError, with lines, for a patient that stands for a missing value, because all of these would count
    as one patient, and for rows that give one key different patients or labels.
    """
    if missing := [row.line for _, row in rows if stands_for_missing(row[patient])]:
        raise MedscreenError(
            f"{path}, {in_lines(missing)}: its {patient} stands for a missing value, and would count as one patient. "
            "Fill in the patient, or remove the row."
        )
    found: dict[_Key, Row] = {}
    for key, row in rows:
        first = found.setdefault(key, row)
        same_label = label is None or label_key(first[label]) == label_key(row[label])
        if not same_label or plain(first[patient]) != plain(row[patient]):
            raise MedscreenError(
                f"{path}, line {row.line}: it contradicts line {first.line}, which gives the same {what} another "
                "label or patient; correct one of them."
            )
    return found


def file_below(path: Path, row: Row, column: str, folder: Path) -> Path | None:
    """The file below `folder` that a row names, as one path for all spellings; None if there is none.

    Raises MedscreenError with the line for paths that lead out of the folder: other drives, `..`, links.
    """
    name = required_cell(path, row, column)
    # tables often have composed names (NFC), macOS decomposed ones (NFD); a UID may name a DICOM file without suffix
    spelled = dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name)))
    try:
        forms = [(folder / (text + suffix)).resolve() for suffix in _SUFFIXES for text in spelled]
        place = next((place for place in forms if place.is_file()), forms[0])
        is_file, home = place.is_file(), folder.resolve()
    except (OSError, RuntimeError):  # a name that is too long, circular links
        return None
    if not place.is_relative_to(home) or PureWindowsPath(name).drive:
        raise MedscreenError(f"{path}, line {row.line}: its {column} leads out of {folder}; correct the row.")
    return folder / place.relative_to(home) if is_file else None


def in_lines(numbers: Collection[int]) -> str:
    """`line 4`, `lines 4, 5 and 9`; of many the first five and how many more there are."""
    first = [str(number) for number in sorted(numbers)[:_MOST_LINES]]
    last = f"{len(numbers) - _MOST_LINES} more" if len(numbers) > _MOST_LINES else first.pop()
    return f"lines {', '.join(first)} and {last}" if first else f"line {last}"


def _lines(path: Path) -> Iterator[_Line]:
    """Header and non-blank rows; raises MedscreenError for text that is not UTF-8 or not strict CSV."""
    reader = csv.reader(StringIO(_text(path), newline=""), strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(map(plain, cells)):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error as error:
        raise MedscreenError(
            f"{path}: invalid CSV from line {begin} on ({error}). Close every quote where its cell ends, and double "
            "quotes that belong to the text."
        ) from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise MedscreenError(
            f"{path} is missing or can't be read ({error.strerror}); put the table there, or correct params.yaml."
        ) from error
    except UnicodeDecodeError as error:
        is_utf_16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "UTF-16, not UTF-8 text" if is_utf_16 else f"not UTF-8 text (byte {error.start})"
        raise MedscreenError(f"{path} is {what}; save the table as CSV in UTF-8.") from error
    if "\0" in text:
        line = len(_LINE_BREAK.split(text[: text.index("\0")]))
        raise MedscreenError(f"{path}, line {line}: it holds NUL characters; save the table as CSV in UTF-8.")
    return text


def _without_empty_end(cells: Sequence[str]) -> list[str]:
    return list(cells[: max((at for at, cell in enumerate(cells, 1) if plain(cell)), default=0)])


def _require_columns(path: Path, header: Sequence[str], columns: Collection[str]) -> None:
    for column in columns:
        number = sum(plain(name) == plain(column) for name in header)
        if number != 1:
            found = [word for separator, word in _SEPARATORS.items() if not number and separator in "".join(header)]
            raise MedscreenError(
                f"{path} has {'two columns' if number else 'no column'} {column!r} in its first line; it needs "
                f"{', '.join(columns)}, separated by commas{f', not by {found[0]}' if found else ''}."
            )


def _cells(path: Path, number: int, cells: list[str], header: int, wanted: int) -> list[str]:
    """As many cells as the header has; raises MedscreenError for fewer, and for more unless these are empty."""
    if len(cells) < wanted or any(map(plain, cells[wanted:])):
        raise MedscreenError(
            f"{path}, line {number}: it has {len(cells)} cells where line {header}, the header, has {wanted}; put "
            "quotes around a cell that holds a comma, and write the commas of empty cells."
        )
    return cells[:wanted]


def _require_no_row_inside(path: Path, lines: Sequence[_Line], columns: Collection[int]) -> None:
    """Raises MedscreenError if a cell of several lines may contain rows, because of a stray quote.

    `columns`: positions of the columns that are read, whose cells have one line. A line of any other cell may be part
    of a row if it has enough cells and, in one of these columns, a value that other rows have there.
    """
    several = [(number, cells, at) for number, cells in lines for at, c in enumerate(cells) if _LINE_BREAK.search(c)]
    known = {(at, plain(cells[at])) for _, cells in lines for at in columns} if several else set()
    for number, cells, at in several:
        if at in columns or any((place, plain(cell)) in known for place, cell in _cells_of_rows(cells, at)):
            raise MedscreenError(
                f"{path}, line {number}: a quote makes further lines part of its cell, rows among them; close it "
                "where the cell ends, or remove the line breaks from the cell."
            )


def _cells_of_rows(cells: Sequence[str], at: int) -> Iterator[tuple[int, str]]:
    """Position and text of the cells that the lines of the cell `at` would be as rows, without too short lines."""
    first, *inner, last = (line.split(",") for line in _LINE_BREAK.split(cells[at]))
    # the row itself from that cell on, rows between, and one up to where the quote was closed
    rows = [[""] * at + first, *inner]
    rows = [row for row in rows if len(row) >= len(cells)] + ([last] if len(last) == at + 1 else [])
    return ((place, cell) for row in rows for place, cell in enumerate(row) if plain(cell))
