"""Names, numbers and tables as Markdown; no name from the data can break a table or become HTML."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def inert(text: object) -> str:
    """Text in one line that Markdown shows as it is; "-" for None and for what has nothing to show."""
    # what does not print goes: line breaks end a row, and marks of writing direction turn the numbers beside them
    printable = "".join(c if c.isprintable() else " " for c in str("" if text is None else text))
    # entities, not backslashes, for HTML: MLflow's renderer does not know a backslash before "<"
    return _MARKUP.sub(r"\\\1", " ".join(printable.split())).translate(_HTML) or "-"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table of cells that are Markdown already; the first `words` columns to the left, the others to the right."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def section(title: str, *paragraphs: str) -> str:
    """A section with those of the paragraphs that say something."""
    return "\n\n".join([f"## {title}", *(paragraph for paragraph in paragraphs if paragraph)])


def bullets(lines: Iterable[str]) -> str:
    """A list, one line each."""
    return "\n".join(f"- {line}" for line in lines)


def share(value: float | None) -> str:
    """A metric to three decimals."""
    return "-" if value is None else f"{value:.3f}"


def score(value: float | None) -> str:
    """A score, which may be tiny or huge, to four significant digits."""
    return "-" if value is None else f"{value:.4g}"


def percent(value: float) -> str:
    """A share in 0..1 as a percentage."""
    return f"{100 * value:.4g} %"


def interval(estimate: Mapping[str, Any] | None, shown: Any = share) -> str:
    """A value and, in brackets, its interval if it has one; `shown` writes a number."""
    if estimate is None or estimate.get("value") is None:
        return "-"
    low, high = estimate.get("low"), estimate.get("high")
    text = str(shown(estimate["value"]))
    return text if low is None or high is None else f"{text} ({shown(low)} to {shown(high)})"
