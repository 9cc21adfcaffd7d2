"""Escaping of external text (file names, messages of other programs) for terminals and CSV files.

All output to terminals and CSV files is escaped here; HTML pages and cards use `reporting.pages.markdown.inert`.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_WIDE = 160  # columns of a table if the output is not a terminal
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|inf|nan)", re.ASCII)
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # first characters of formulas in spreadsheets


def visible(text: object, keep: str = "") -> str:
    r"""Text with control characters escaped (`\x1b`, `\n`, `\u202e`), except those in `keep`.

    In a terminal, control characters move the cursor, change the title or reverse the direction of text.
    """
    string = str(text)
    return string if string.isprintable() else "".join(c if c in keep else _visible(c) for c in string)


def _visible(character: str) -> str:
    is_printable = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if is_printable else character.encode("unicode_escape").decode("ascii")


def say(line: object = "", err: bool = False) -> None:
    """Prints one line with control characters escaped."""
    click.echo(visible(line), err=err)


class Screen(Console):
    """A rich console that prints strings as plain text: no markup, emoji codes or control characters.

    For styles, use rich's Text. If the output is not a terminal, it is wide enough for every table.
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = _WIDE

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable, escaped except for rich's control segments."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, keep="\n"), segment.style)


def save_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table as CSV in UTF-8, with formulas escaped for spreadsheets; numbers stay numbers."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([_cell(value) for value in row] for row in [header, *rows])


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\n")
    is_formula = text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
