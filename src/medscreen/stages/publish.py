"""Closes every detector's run in MLflow, registers it as a version, and promotes the best."""

import json
import os

from rich.console import Console
from rich.markup import escape

from medscreen.layout import Layout
from medscreen.league import Pair, balanced_rows, comparisons, league_rows, print_league, save_rows
from medscreen.outputs import replaced
from medscreen.params import Params
from medscreen.registry import promote_best, versions_of
from medscreen.registry.cards import describe
from medscreen.registry.experiments import may_change, published
from medscreen.registry.selection import bootstrap_of
from medscreen.stages.running import run_stage
from medscreen.tracking import open_store, read_results
from medscreen.tracking.runs import experiment_name

_WIDTH = 160  # where the output is no terminal: wide enough for the table


def publish(layout: Layout, params: Params) -> None:
    """Writes league, balanced, comparison and promotion of reports/; changes MLflow only where a result is new."""
    client = open_store(layout)
    results = read_results(layout, params)
    versions = {result.detector: published(client, layout, result) for result in results}
    report = promote_best(client, layout, results, versions, params)
    standings = {standing["detector"]: standing for standing in report["standings"]}
    now = {version.number: version for version in versions_of(client, report["model"])}
    for result in results:
        version = versions[result.detector]
        if version is not None and may_change(version):
            describe(client, now[version.number], result, params, standings[result.detector])
    with replaced(layout.promotion) as partial:
        partial.write_text(json.dumps(report, indent=1))
    rows = league_rows(results, {name: standing["verdict"] for name, standing in standings.items()})
    with replaced(layout.league) as partial:
        save_rows(rows, list(rows[0]), partial)
    with replaced(layout.balanced) as partial:
        balanced = balanced_rows(results)
        save_rows(balanced, list(balanced[0]), partial)
    with replaced(layout.comparison) as partial:
        outcomes = {split: {r.detector: r.outcomes(split) for r in results} for split in ("val", "test")}
        pairs = comparisons(outcomes, rows[0]["detector"], bootstrap_of(params))
        save_rows(pairs, list(Pair.__annotations__), partial)
    console = Console(width=None if os.isatty(1) else _WIDTH)
    of = f" of experiment {escape(experiment_name())}" if experiment_name() else ""
    level = f"{params.evaluation.confidence:.0%}"
    print_league(rows, f"League table{of} ({level} intervals; the verdict looks at val alone)", console)
    if promoted := report["promoted"]:
        console.print(f"In Production: {report['model']} version {promoted['version']} ({promoted['detector']})")
    console.print(report["reason"], highlight=False)
    console.print("Research use only, never diagnosis.")


if __name__ == "__main__":
    run_stage("publish", publish)
