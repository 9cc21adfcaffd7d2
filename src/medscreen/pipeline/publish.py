"""Stage publish: ends the MLflow run of each detector, registers a version and promotes the best."""

import json

from medscreen.config.params import Params
from medscreen.pipeline.stage_runner import run_stage
from medscreen.registry.cards import describe
from medscreen.registry.promotion import bootstrap_of, promote_best
from medscreen.registry.registration import may_change, register
from medscreen.registry.threshold_change import remove_cut_short
from medscreen.registry.versions import versions_of
from medscreen.reporting.leaderboard import (
    Pair,
    balanced_rows,
    comparisons,
    leaderboard_rows,
    print_leaderboard,
    save_rows,
)
from medscreen.runtime.escaping import Screen
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.names import model_name
from medscreen.tracking.runs import experiment_name
from medscreen.tracking.store import open_experiment, open_store
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import require_locked


def publish(layout: Layout, params: Params) -> None:
    """Writes reports/{leaderboard,balanced,comparison}.csv and promotion.json; MLflow changes only for new results."""
    client = open_store(layout)
    require_locked(layout, params.detectors)
    results = read_results(layout, params)
    remove_cut_short(
        client, layout, model_name(results[0].dataset), open_experiment(client, layout, results[0].dataset)
    )
    versions = {result.detector: register(client, layout, result) for result in results}
    report = promote_best(client, layout, results, versions, params)
    standings = {standing["detector"]: standing for standing in report["standings"]}
    now = {version.number: version for version in versions_of(client, report["model"])}
    for result in results:
        version = versions[result.detector]
        if version is not None and may_change(version):
            describe(client, now[version.number], result, params, standings[result.detector])
    with replaced(layout.promotion) as partial:
        partial.write_text(json.dumps(report, indent=1))
    rows = leaderboard_rows(results, {name: standing["verdict"] for name, standing in standings.items()})
    with replaced(layout.leaderboard) as partial:
        save_rows(rows, list(rows[0]), partial)
    with replaced(layout.balanced) as partial:
        balanced = balanced_rows(results)
        save_rows(balanced, list(balanced[0]), partial)
    with replaced(layout.comparison) as partial:
        outcomes = {split: {r.detector: r.outcomes(split) for r in results} for split in ("val", "test")}
        pairs = comparisons(outcomes, rows[0]["detector"], bootstrap_of(params))
        save_rows(pairs, list(Pair.__annotations__), partial)
    screen = Screen()
    of = f" of experiment {experiment_name()}" if experiment_name() else ""
    level = f"{params.evaluation.confidence:.0%}"
    print_leaderboard(rows, f"Leaderboard{of} ({level} intervals; the verdict depends on val alone)", screen)
    if promoted := report["promoted"]:
        screen.print(f"In Production: {report['model']} version {promoted['version']} ({promoted['detector']})")
    screen.print(report["reason"])
    screen.print("Research use only, never diagnosis.")


if __name__ == "__main__":
    run_stage("publish", publish)
