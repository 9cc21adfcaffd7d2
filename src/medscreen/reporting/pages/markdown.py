"""Markdown documents from Jinja2 templates; all inserted values are escaped.

Templates hold the text of a document, Python computes the values. Rules for templates: wrapped lines of a paragraph
are joined; a block tag that ends a line and has to keep the line break ends with ``+%}``; conditional text stands in
``{% if %}``, as ``{{ }}`` would escape it.
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
    """Escapes text for one line of Markdown; "-" for None and for text without printable characters."""
    # removes non-printable characters: line breaks end a table row, direction marks reorder numbers
    printable = "".join(c if c.isprintable() else " " for c in str("" if text is None else text))
    # HTML entities, as MLflow's renderer does not support a backslash before "<"
    return _MARKUP.sub(r"\\\1", " ".join(printable.split())).translate(_HTML) or "-"


def number(value: float | None, spec: str = ".3f") -> str:
    """Formats a metric with three decimals; use ".4g" for scores of any magnitude. "-" for None."""
    return "-" if value is None else format(value, spec)


def percent(share: float) -> str:
    """Formats a share in [0, 1] as a percentage."""
    return f"{100 * share:.4g} %"


def interval(estimate: Mapping[str, Any] | None, spec: str = ".3f") -> str:
    """Formats a value with its interval, if any, in brackets; "-" without a value."""
    if estimate is None or estimate.get("value") is None:
        return "-"
    low, high = estimate.get("low"), estimate.get("high")
    text = number(estimate["value"], spec)
    return text if low is None or high is None else f"{text} ({number(low, spec)} to {number(high, spec)})"


def figure(estimate: Mapping[str, Any] | None) -> str:
    """Formats a value with its interval in brackets; TOO_FEW if it rests on too few patients."""
    return TOO_FEW if is_too_few(estimate) else interval(estimate)


def _escaped(value: object) -> object:
    """Escapes a value of a template; output of macros and blocks is already Markdown."""
    return value if hasattr(value, "__html__") else Markup(inert(value))  # noqa: S704  # inert escapes it


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
    """Renders a template, with each paragraph on one line, as MLflow shows every line break."""
    text = TEMPLATES.get_template(template).render(values)
    return _WRAPPED.sub(" ", re.sub(r"\n{3,}", "\n\n", text.strip())) + "\n"
