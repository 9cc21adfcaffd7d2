"""Tables that the commands print."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from medscreen.evaluation.bootstrap import Estimate


def simple_table(title: str | None, texts: Iterable[str] = (), numbers: Iterable[str] = ()) -> Table:
    """A table with text columns, whose cells may wrap, followed by right-aligned columns of numbers."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in texts:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def estimate_cell(estimate: "Estimate") -> Text:
    """A metric with its interval: `.912 .871 to .945`."""
    from medscreen.evaluation.sample_size import TOO_FEW

    if estimate["value"] is None:
        return Text("-")
    if estimate["low"] is None or estimate["high"] is None:
        return Text(TOO_FEW)
    value, low, high = (f"{estimate[key]:.3f}".replace("0.", ".", 1) for key in ("value", "low", "high"))
    return Text.assemble(value, (f" {low} to {high}", "dim"))
