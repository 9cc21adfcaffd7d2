"""Commands models and compare for registered versions."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click
from rich.text import Text

from medscreen.cli.registry_access import open_registry
from medscreen.cli.tables import estimate_cell, simple_table
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen
from medscreen.workspace.layout import find_layout

if TYPE_CHECKING:
    from medscreen.registry.decision_log import Entry
    from medscreen.registry.overview import Row

_HEADINGS = {
    "val/auroc": "val AUROC",
    "test/auroc": "test AUROC",
    "test/sensitivity": "sensitivity",
    "test/specificity": "specificity",
}
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


@click.command()
@click.option("--name", help="Registered model; by default all.")
@click.option("--log", "show_log", is_flag=True, help="Print the promotion log instead, newest decision first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def models(name: str | None, show_log: bool, as_json: bool) -> None:
    """Lists registered versions with their metrics.

    Columns: version, stage, detector, threshold, data, headline metrics with intervals, age.

    Example: `medscreen models --log`
    """
    from medscreen.registry.decision_log import DecisionLog, settle_all
    from medscreen.registry.overview import overview
    from medscreen.registry.versions import model_names
    from medscreen.tracking.store import open_store

    layout = find_layout()
    client = open_store(layout)
    known = model_names(client)
    if name is not None and name not in known:
        raise MedscreenError(f"There is no registered model {name!r}; registered: {', '.join(known) or 'none yet'}.")
    if not known:
        raise MedscreenError("No model is registered yet; `make repro` registers one.")
    chosen = [name] if name else known
    settle_all(client, layout, chosen)
    if show_log:
        entries = {model: [entry for entry, _ in DecisionLog(client, layout, model).entries()] for model in chosen}
        _print_log(entries, as_json)
        return
    rows = overview(client, chosen)
    if as_json:
        click.echo(json.dumps([asdict(row) | {"made": row.made.isoformat()} for row in rows], indent=1))
        return
    for model in chosen:
        _print_models(model, [row for row in rows if row.model == model])


def _print_models(model: str, rows: "list[Row]") -> None:
    table = simple_table(
        model, ("version", "stage", "detector", "threshold", "data"), numbers=(*_HEADINGS.values(), "age")
    )
    table.columns[0].justify = "right"
    table.columns[2].min_width = len("(files lost)")
    for column in table.columns[-len(_HEADINGS) - 1 :]:
        column.no_wrap = True
    for row in rows:
        stage = "-" if row.stage == "None" else row.stage
        table.add_row(
            str(row.version),
            Text(stage + (" (rolled back)" if row.rolled_back else ""), "bold" if row.stage == "Production" else ""),
            Text.assemble(
                row.detector,
                ("\n(files lost)" if row.lost else "", "red"),
                ("\n(files can't be reached)" if row.unreachable else "", "red"),
                ("\n(run lost)" if row.run_lost else "", "red"),
            ),
            row.threshold,
            row.data[:8],
            *(estimate_cell(row.metrics[metric]) for metric in _HEADINGS),
            _age(row.made),
        )
    Screen().print(table)


def _print_log(entries: "dict[str, list[Entry]]", as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"model": m} | asdict(e) for m, found in entries.items() for e in found], indent=1))
        return
    for model, of_model in entries.items():
        table = simple_table(f"{model}: decisions", ("", "time", "user", "decision", "reason"))
        for column in table.columns[:2]:
            column.no_wrap = True
        for entry in of_model:
            when = datetime.fromisoformat(entry.at)
            table.add_row(str(entry.number), f"{when:%Y-%m-%d %H:%M}", entry.by, entry.title, entry.reason)
        Screen().print(table)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--name", help="Registered model; by default that of the active data set.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(a: str, b: str, name: str | None, as_json: bool) -> None:
    """Compares versions A and B on the same images of val.

    A and B are numbers or stages. Both screen the images again; images of patients in the training data of A or B are
    left out. A second table lists differences in data and settings.

    Example: `medscreen compare 3 Production`
    """
    from medscreen.registry.gate_evidence import Evidence
    from medscreen.registry.promotion import bootstrap_of
    from medscreen.registry.version_comparison import compare as compare_versions
    from medscreen.registry.versions import find_version
    from medscreen.tracking.detector_results import read_results

    registry = open_registry(name)
    versions = [find_version(registry.client, registry.model, which) for which in (a, b)]
    evidence = Evidence(registry.client, registry.layout, read_results(registry.layout, registry.params))
    found = compare_versions(registry.client, evidence, versions[0], versions[1], bootstrap_of(registry.params))
    if as_json:
        click.echo(json.dumps(asdict(found), indent=1))
        return
    titles = [f"version {version.number} ({version.detector})" for version in versions]
    table = simple_table(f"{registry.model} on {found.images} images of val", ("",), (*titles, "difference"))
    for metric, estimates in found.metrics.items():
        table.add_row(metric.replace("_", " "), *map(estimate_cell, estimates))
    differ = simple_table("made from", ("", *titles))
    for key, pair in found.differ.items():
        differ.add_row(key, *pair)
    Screen().print(table)
    Screen().print(differ)


def _age(made: datetime) -> str:
    seconds = (datetime.now(UTC) - made).total_seconds()
    return next((f"{seconds / size:.0f} {unit}" for size, unit in _AGES if seconds >= size), "new")
