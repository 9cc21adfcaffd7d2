"""Closes every detector's run in MLflow, registers it as a version, and promotes the best."""

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from mlflow import MlflowClient
from rich.console import Console

from medscreen.layout import Layout
from medscreen.league import league_rows, print_league, save_league
from medscreen.outputs import replaced
from medscreen.params import Params
from medscreen.promotion import Candidate, Champion, Decision, decide
from medscreen.registry import Version, in_stage, model_name, move_to, register
from medscreen.stages.running import run_stage
from medscreen.tracking import Result, finish_run, open_store, read_result

_LOG = "promotions.jsonl"


def publish(layout: Layout, params: Params) -> None:
    """Writes reports/league.csv and reports/promotion.json; changes MLflow only where a result is new."""
    client = open_store(layout)
    results = [read_result(layout, params, name) for name in params.detectors]
    versions = {r.detector: register(client, r, finish_run(client, layout, r)) for r in results}
    model = model_name(results[0].dataset)
    champion = in_stage(client, model, "Production")
    decision = decide(
        [_candidate(result, params.promotion.metric) for result in results],
        _champion(client, champion, results[0], params.promotion.metric),
        params.promotion,
    )
    report = _act(client, layout, model, decision, versions, champion)
    with replaced(layout.promotion) as partial:
        partial.write_text(json.dumps(report, indent=1))
    rows = league_rows(results, {standing["detector"]: standing["verdict"] for standing in report["standings"]})
    with replaced(layout.league) as partial:
        save_league(rows, partial)
    _tell(rows, report)


def _candidate(result: Result, metric: str) -> Candidate:
    return Candidate(result.detector, result.digest, result.value("val", metric), result.is_baseline)


def _champion(client: MlflowClient, version: Version | None, result: Result, metric: str) -> Champion | None:
    if version is None:
        return None
    value = None
    if version.val_digest == result.data["val"]["digest"]:
        value = client.get_run(version.run_id).data.metrics.get(f"val/{metric}")
    return Champion(version.detector, version.digest, version.number, value)


def _act(
    client: MlflowClient,
    layout: Layout,
    model: str,
    decision: Decision,
    versions: dict[str, Version],
    champion: Version | None,
) -> dict[str, Any]:
    """Carries the decision out, unless this is an experiment, and returns what is to be reported of it."""
    standings = [asdict(standing) for standing in decision.standings]
    report: dict[str, Any] = {
        "model": model,
        "metric": decision.metric,
        "reason": decision.reason,
        "champion": _named(champion),
        "promoted": None,
        "standings": standings,
    }
    experiment = os.environ.get("DVC_EXP_NAME")
    if decision.promote is not None and experiment:
        report["reason"] = f"not promoted: experiment {experiment} ({decision.reason})"
        for standing in standings:
            standing["verdict"] = standing["verdict"].replace("promoted", "experiment")
    elif decision.promote is not None:
        version = versions[decision.promote.detector]
        move_to(client, version, "Production")
        report["promoted"] = _named(version)
    return _remembered(layout, report, champion)


def _named(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {"version": version.number, "detector": version.detector, "digest": version.digest}


def _remembered(layout: Layout, report: dict[str, Any], champion: Version | None) -> dict[str, Any]:
    """The report, appended to the log beside MLflow's store; a repetition of the last one is not news.

    When the best detector is in Production already, the report of its promotion still stands.
    """
    path = layout.mlruns / _LOG
    lines = path.read_text().splitlines() if path.is_file() else []
    entries = [entry for entry in map(json.loads, lines) if entry["model"] == report["model"]]
    stands = any(standing["verdict"] == "champion" for standing in report["standings"])
    if stands and champion is not None:
        promotions = [e for e in entries if (e["promoted"] or {}).get("digest") == champion.digest]
        if promotions and _verdicts(promotions[-1]) == _verdicts(report):
            return {name: value for name, value in promotions[-1].items() if name != "at"}
    if not entries or {k: v for k, v in entries[-1].items() if k != "at"} != report:
        with path.open("a") as file:
            file.write(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **report}) + "\n")
    return report


def _verdicts(report: dict[str, Any]) -> list[tuple[str, float | None]]:
    return [(standing["detector"], standing["value"]) for standing in report["standings"]]


def _tell(rows: list[dict[str, str]], report: dict[str, Any]) -> None:
    console = Console(width=None if os.isatty(1) else 140)
    print_league(rows, "League table (95 % intervals in brackets; the verdict looks at val alone)", console)
    if report["promoted"]:
        promoted = report["promoted"]
        console.print(f"In Production: {report['model']} version {promoted['version']} ({promoted['detector']})")
    console.print(report["reason"], highlight=False)
    console.print("Research use only, never diagnosis.")


if __name__ == "__main__":
    run_stage("publish", publish)
