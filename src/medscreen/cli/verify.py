"""Commands verify and reproduce for registered versions."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from medscreen.config.params import load_params
from medscreen.runtime.escaping import Screen, say
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.registry.verification.finding import Finding

_STYLES = {"changed": "bold red", "unreachable": "yellow", "matches": "green"}


@click.command()
@click.argument("which", default="Production")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def verify(which: str, as_json: bool) -> None:
    """Checks version WHICH against its record.

    Lists each recorded property as matching, changed or unreachable: package, operating point, data, code and others.
    WHICH is MODEL/STAGE, MODEL/NUMBER, or a stage or number of the active data set's model. The exit status is 1 if
    something has changed, else 0. The command only reads and downloads nothing.

    Example: `medscreen verify Production --json`
    """
    from medscreen.registry.verification.finding import GROUPS
    from medscreen.registry.verification.verify import verify as verify_version
    from medscreen.registry.versions import named_version
    from medscreen.tracking.store import open_store

    layout = find_layout()
    params = load_params(layout.params)
    client = open_store(layout)
    version = named_version(client, params.dataset, which)
    findings = verify_version(client, layout, params, version)
    counts = Counter(finding.status for finding in findings)
    if as_json:
        about = {"model": version.model, "version": version.number, "stage": version.stage, "digest": version.digest}
        click.echo(json.dumps(about | {"findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        screen = Screen()
        stage = "without a stage" if version.stage == "None" else f"in {version.stage}"
        screen.print(f"{version} ({version.detector}), {stage}")
        for title, subjects in GROUPS.items():
            screen.print()
            screen.print(Text(title, "bold"))
            screen.print(_table([finding for finding in findings if finding.subject in subjects]))
        screen.print(
            f"\n{len(findings)} findings: {counts['changed']} changed, {counts['unreachable']} unreachable, "
            f"{counts['matches']} match."
        )
    sys.exit(1 if counts["changed"] else 0)


def _table(findings: Sequence["Finding"]) -> Table:
    """Table of findings, one row each, the most severe status first."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, min_width=13)
    table.add_column(no_wrap=True, min_width=15)
    table.add_column(overflow="fold")
    for finding in sorted(findings, key=lambda finding: list(_STYLES).index(finding.status)):
        style = _STYLES[finding.status]
        table.add_row(Text(f"  {finding.status}", style), finding.subject, finding.says)
    return table


@click.command()
@click.argument("which")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=0.0, help="Largest accepted difference of a metric; default 0."
)
@click.option("--keep", is_flag=True, help="Keep the work tree; `git worktree remove` deletes it.")
def reproduce(which: str, tolerance: float, keep: bool) -> None:
    """Trains version WHICH again and compares the results.

    The version is rebuilt from its commit, data and parameters; metrics and package digest are compared. WHICH is as
    for verify. Training runs in a Git work tree below .medscreen/; the checkout is not changed. Exit status: 0 for the
    same result, 1 for a different one, 2 if the version can't be reproduced.

    Example: `medscreen reproduce Production --tolerance 0.001`
    """
    from medscreen.registry import reproduction
    from medscreen.registry.versions import named_version
    from medscreen.tracking.store import open_store

    layout = find_layout()
    client = open_store(layout)
    version = named_version(client, load_params(layout.params).dataset, which)
    made = reproduction.reproduce(client, layout, version, keep)
    same = made.is_within(tolerance)
    metrics = {
        True: "evaluation.json has the same bytes",
        False: f"evaluation.json differs, most in {made.metric}: {made.apart:g}",
        None: "not compared: the version has no evaluation.json, as it shares the network of another version",
    }[made.same_metrics]
    say()
    say(f"training  {'the same run key' if made.same_training else 'another run key: other code, data or parameters'}")
    say(f"package   {'the same digest,' if made.same_package else 'another digest than'} {version.digest}")
    say(f"metrics   {metrics}")
    if made.is_identical:
        say(f"{version} was reproduced bit for bit.")
    elif same:
        say(f"{version} was reproduced: no metric differs by more than {tolerance:g}.")
    else:
        say(f"{version} was not reproduced: the result differs.")
    sys.exit(0 if same else 1)
