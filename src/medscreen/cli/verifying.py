"""Whether a registered version can still be trusted."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from medscreen.layout import find_layout
from medscreen.params import load_params

if TYPE_CHECKING:
    from medscreen.registry.verification import Finding

_STYLES = {"changed": "bold red", "unreachable": "yellow", "matches": "green"}


@click.command()
@click.argument("which", default="Production")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify(which: str, as_json: bool) -> None:
    """Computes again what it can of version WHICH, and says what matches and what has changed.

    WHICH is MODEL/STAGE, MODEL/NUMBER, or a stage or number of the active data set's model. Exit status 0 where nothing
    has changed, else 1. Nothing is changed, made or downloaded.
    """
    from medscreen.registry import verification
    from medscreen.registry.versions import named_version
    from medscreen.tracking import open_store

    layout = find_layout()
    params = load_params(layout.params)
    client = open_store(layout)
    version = named_version(client, params.dataset, which)
    findings = verification.verify(client, layout, params, version)
    counts = Counter(finding.status for finding in findings)
    if as_json:
        about = {"model": version.model, "version": version.number, "stage": version.stage, "digest": version.digest}
        click.echo(json.dumps(about | {"findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        console = Console(highlight=False)
        stage = "without a stage" if version.stage == "None" else f"in {version.stage}"
        console.print(f"{version.model} version {version.number} ({escape(version.detector)}), {stage}")
        for title, subjects in verification.GROUPS.items():
            console.print(f"\n[bold]{title}[/bold]")
            console.print(_table([finding for finding in findings if finding.subject in subjects]))
        console.print(
            f"\n{len(findings)} findings: {counts['changed']} changed, {counts['unreachable']} unreachable, "
            f"{counts['matches']} match."
        )
    sys.exit(1 if counts["changed"] else 0)


def _table(findings: Sequence["Finding"]) -> Table:
    """The worst first; a line of its own for each."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=13)
    table.add_column(no_wrap=True, min_width=15)
    table.add_column(overflow="fold")
    for finding in sorted(findings, key=lambda finding: list(_STYLES).index(finding.status)):
        style = _STYLES[finding.status]
        table.add_row(f"  [{style}]{finding.status}[/{style}]", finding.subject, escape(finding.says))
    return table
