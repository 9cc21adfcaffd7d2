"""Carries a promotion out and remembers it: an append-only log beside MLflow's store, which keeps no such history."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from medscreen.layout import Layout
from medscreen.params import PromotionParams
from medscreen.promotion import Candidate, Champion, Decision, decide
from medscreen.registry.versions import Version, in_stage, model_name, move_to
from medscreen.tracking import Result

Report = dict[str, Any]


def promote_best(
    client: MlflowClient,
    layout: Layout,
    results: Sequence[Result],
    versions: Mapping[str, Version],
    params: PromotionParams,
) -> Report:
    """Puts the best detector into Production if it deserves it, and returns what was decided and why.

    An experiment (`dvc exp run`) is judged and never promoted. Deciding the same again changes nothing and reports
    the same.
    """
    model = model_name(results[0].dataset)
    held = in_stage(client, model, "Production")
    candidates = [_candidate(result, params.metric) for result in results]
    decision = decide(candidates, _champion(client, held, results[0], params.metric), params)
    report = _report(model, decision, held)
    experiment = os.environ.get("DVC_EXP_NAME")
    if decision.promote is not None and experiment:
        report["reason"] = f"not promoted: experiment {experiment} ({decision.reason})"
        for standing in report["standings"]:
            standing["verdict"] = standing["verdict"].replace("promoted", "experiment")
    elif decision.promote is not None:
        report["promoted"] = _named(versions[decision.promote.detector])
    # written before it is done: after a kill in between, the next publish decides the same again and does it
    report = _remembered(layout.mlruns / "promotions.jsonl", layout.promotion, report)
    if decision.promote is not None and not experiment:
        move_to(client, versions[decision.promote.detector], "Production")
    return report


def _candidate(result: Result, metric: str) -> Candidate:
    value = result.value("val", metric)
    return Candidate(result.detector, result.digest, value, result.is_baseline, result.run_key)


def _champion(client: MlflowClient, version: Version | None, result: Result, metric: str) -> Champion | None:
    if version is None:
        return None
    value = None
    if version.val_digest == result.data["val"]["digest"]:
        value = client.get_run(version.run_id).data.metrics.get(f"val/{metric}")
    return Champion(version.detector, version.digest, version.number, value, version.run_key)


def _report(model: str, decision: Decision, held: Version | None) -> Report:
    return {
        "model": model,
        "metric": decision.metric,
        "reason": decision.reason,
        "champion": _named(held),
        "promoted": None,
        "standings": [asdict(standing) for standing in decision.standings],
    }


def _named(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return {"version": version.number, "detector": version.detector, "digest": version.digest}


def _remembered(log: Path, told: Path, report: Report) -> Report:
    """The report, appended to the log unless the last entry on this model says the same.

    When the best detector is in Production already, the entry of its promotion still stands and is returned; so does
    the report that is `told` so far, which came with git where another checkout has promoted.
    """
    text = log.read_text() if log.is_file() else ""
    entries = [entry for entry in map(_parsed, text.splitlines()) if entry.get("model") == report["model"]]
    if any(standing["verdict"] == "champion" for standing in report["standings"]):
        champion = report["champion"]
        former = _parsed(told.read_text()) if told.is_file() else {}
        known = [former, *entries] if former.get("model") == report["model"] else entries
        promotions = [entry for entry in known if entry["promoted"] == champion]
        if promotions and _values(promotions[-1]) == _values(report):
            return _undated(promotions[-1])
    if not entries or _undated(entries[-1]) != report:
        log.parent.mkdir(parents=True, exist_ok=True)  # with a server, nothing else lies there
        with log.open("a") as file:
            if text and not text.endswith("\n"):
                file.write("\n")
            file.write(json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **report}) + "\n")
    return report


def _parsed(line: str) -> Report:
    """An entry of the log; a line cut short by a kill is none."""
    try:
        entry: Report = json.loads(line)
    except ValueError:
        return {}
    return entry


def _undated(entry: Report) -> Report:
    return {name: value for name, value in entry.items() if name != "at"}


def _values(report: Report) -> list[tuple[str, float | None]]:
    return [(standing["detector"], standing["value"]) for standing in report["standings"]]
