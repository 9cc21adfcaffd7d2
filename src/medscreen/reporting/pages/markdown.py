"""Markdown documents from Jinja2 templates; every value that a template shows is escaped.

A template holds the words of a document, Python computes the values. Rules for the templates: a paragraph may be
wrapped, it becomes one line; a line that ends with a block tag and is to keep its line break ends with ``+%}``;
words that depend on a condition stand in ``{% if %}``, as ``{{ }}`` escapes them like any other value.
"""

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from medscreen.evaluation.sample_size import FEWEST, TOO_FEW, is_too_few

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~])")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_WRAPPED = re.compile(r"(?<=[^\n]) *\n *(?!\s|[|#]|- )")


def inert(text: object) -> str:
    """Text in one line that Markdown shows as it is; "-" for None and for what has nothing to show."""
    # what does not print goes: line breaks end a row, and marks of writing direction turn the numbers beside them
    printable = "".join(c if c.isprintable() else " " for c in str("" if text is None else text))
    # entities, not backslashes, for HTML: MLflow's renderer has no backslash before "<"
    return _MARKUP.sub(r"\\\1", " ".join(printable.split())).translate(_HTML) or "-"


def number(value: float | None, spec: str = ".3f") -> str:
    """A metric to three decimals; ".4g" suits scores, which may be tiny or huge. "-" for None."""
    return "-" if value is None else format(value, spec)


def percent(share: float) -> str:
    """A share in 0..1 as a percentage."""
    return f"{100 * share:.4g} %"


def interval(estimate: Mapping[str, Any] | None, spec: str = ".3f") -> str:
    """A value and, in brackets, its interval if it has one; "-" where there is no value."""
    if estimate is None or estimate.get("value") is None:
        return "-"
    low, high = estimate.get("low"), estimate.get("high")
    text = number(estimate["value"], spec)
    return text if low is None or high is None else f"{text} ({number(low, spec)} to {number(high, spec)})"


def figure(estimate: Mapping[str, Any] | None) -> str:
    """A value with its interval in brackets; words where too few patients support it."""
    return TOO_FEW if is_too_few(estimate) else interval(estimate)


def _escaped(value: object) -> object:
    """A value as a template shows it; what a macro or a block of the template made is Markdown already."""
    return value if hasattr(value, "__html__") else Markup(inert(value))  # noqa: S704  # inert is what makes it safe


TEMPLATES = Environment(
    loader=PackageLoader("medscreen.reporting", ""),
    autoescape=True,
    finalize=_escaped,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"number": number, "percent": percent, "interval": interval, "figure": figure}
TEMPLATES.globals |= {"TOO_FEW": TOO_FEW, "FEWEST": FEWEST}


def render(template: str, **values: Any) -> str:
    """The document that a template makes of these values, a paragraph a line: MLflow shows every line break."""
    text = TEMPLATES.get_template(template).render(values)
    return _WRAPPED.sub(" ", re.sub(r"\n{3,}", "\n\n", text.strip())) + "\n"
