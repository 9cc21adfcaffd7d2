"""CSV text taken apart, strictly: no cell is cut off, none is made up, and no quote swallows rows without a word."""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from medscreen.data.sources.spelling import plain
from medscreen.errors import MedscreenError

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Line:
    """The cells of a header or row, and the line of the file that it begins on (from 1)."""

    number: int
    cells: list[str]


def table_text(path: Path) -> str:
    """The text of a UTF-8 file, without its byte order mark; raises MedscreenError for any other file."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise MedscreenError(f"{path} is missing; put the table there, or correct params.yaml.") from error
    except OSError as error:
        raise MedscreenError(f"{path} can't be read ({error.strerror}); it has to be a table.") from error
    except UnicodeDecodeError as error:
        what = "UTF-16, no UTF-8 text" if content.startswith(_UTF_16) else f"no UTF-8 text (byte {error.start})"
        raise MedscreenError(f"{path} is {what}; save the table as CSV in UTF-8.") from error
    if "\0" in text:
        line = len(_LINE_BREAK.split(text[: text.index("\0")]))
        raise MedscreenError(
            f"{path}, line {line}: it holds NUL characters, as UTF-16 and damaged files do; save the table as CSV in "
            "UTF-8."
        )
    return text


def csv_lines(path: Path, text: str) -> Iterator[Line]:
    """Header and rows, without blank ones; raises MedscreenError that names the line for a quote that doesn't fit."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    begin = 1
    try:
        for cells in reader:
            if any(map(plain, cells)):
                yield Line(begin, cells)
            begin = reader.line_num + 1
    except csv.Error as error:
        if "field limit" in str(error):
            raise MedscreenError(
                f"{path}, line {begin}: a cell has more than {csv.field_size_limit()} characters; close the quote that "
                "begins it, or take the text out of the table."
            ) from error
        raise MedscreenError(
            f"{path} is no CSV table from line {begin} on ({error}); close every quote where its cell ends, and double "
            "one that belongs to the text."
        ) from error


def require_no_row_inside(path: Path, lines: Sequence[Line], columns: Collection[int]) -> None:
    """Raises MedscreenError where a cell of several lines may hold rows that a stray quote swallowed.

    `columns`: the positions of those that are read. A cell of these has one line. A line of any other cell may be part
    of a row if it has as many cells as that takes and, in such a column, a value that other rows have there.
    """
    several = [
        (line, at) for line in lines for at, cell in enumerate(line.cells) if len(_LINE_BREAK.split(cell, 1)) > 1
    ]
    if not several:
        return
    known = {(at, plain(line.cells[at])) for line in lines for at in columns}
    for line, at in several:
        if at in columns or _holds_a_row(line, at, known):
            raise MedscreenError(
                f"{path}, line {line.number}: a quote makes further lines part of its cell, rows among them; close it "
                "where the cell ends, or take the line breaks out of the cell."
            )


def _holds_a_row(line: Line, at: int, known: Collection[tuple[int, str]]) -> bool:
    first, *inner, last = map(_parsed, _LINE_BREAK.split(line.cells[at]))
    wanted = len(line.cells)
    # the row itself from that cell on, rows between, and one up to where the quote was closed; text has other numbers
    begun = set(enumerate(map(plain, first[1:]), at + 1)) if len(first) >= wanted - at else set()
    whole = [cells for cells in inner if len(cells) >= wanted] + ([last] if len(last) == at + 1 else [])
    rows = [set(enumerate(map(plain, cells))) for cells in whole]
    return any((number, value) in known and value for found in (begun, *rows) for number, value in found)


def _parsed(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error:  # longer than a cell may be
        return []
