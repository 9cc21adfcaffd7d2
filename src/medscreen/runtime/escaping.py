"""Text from outside (names of files, reasons, messages of other programs) where people see it.

Everything that medscreen prints or writes as csv goes through here; pages and cards have
`reporting.pages.markdown.inert`.
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

_WIDE = 160  # columns of a table where the output is no terminal
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|inf|nan)", re.ASCII)
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001  # spreadsheets compute a cell that begins with one of these


def visible(text: object, keep: str = "") -> str:
    r"""Text with every control character as its escape (`\x1b`, `\n`, `\u202e`), but for those to `keep`.

    A terminal obeys control characters: they move the cursor, change the title, or turn the direction of writing.
    """
    string = str(text)
    return string if string.isprintable() else "".join(c if c in keep else _visible(c) for c in string)


def _visible(character: str) -> str:
    is_printable = character.isprintable() or unicodedata.category(character) == "Zs"
    return character if is_printable else character.encode("unicode_escape").decode("ascii")


def say(line: object = "", err: bool = False) -> None:
    """Prints one line, whatever its parts hold."""
    click.echo(visible(line), err=err)


class Screen(Console):
    """A console to which every string is only text: no markup, no emoji codes, no control characters.

    Styles are rich's Text. Where the output is no terminal, it is wide enough for every table.
    """

    def __init__(self) -> None:
        super().__init__(markup=False, emoji=False, highlight=False)
        if not self.is_terminal:
            self.width = _WIDE

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a renderable; one that rich makes to control the terminal stays as it is."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text, keep="\n"), segment.style)


def save_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table as csv in UTF-8 of which no spreadsheet computes a cell; numbers stay numbers."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([_cell(value) for value in row] for row in [header, *rows])


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\n")
    is_formula = text.lstrip().startswith(_FORMULA) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_formula else text
