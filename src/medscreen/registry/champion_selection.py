"""After a repro: the best detector of the roster goes to Production if the gate lets it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.registry.decision_log import DecisionLog, Entry
from medscreen.registry.gate import Decision, decide
from medscreen.registry.gate_evidence import Evidence
from medscreen.registry.stages import one_at_a_time
from medscreen.registry.versions import Version, held, model_name
from medscreen.tracking.detector_results import Result
from medscreen.tracking.runs import experiment_name
from medscreen.workspace.layout import Layout

Report = dict[str, Any]


def promote_best(
    client: MlflowClient,
    layout: Layout,
    results: Sequence[Result],
    versions: Mapping[str, Version | None],
    params: Params,
) -> Report:
    """Puts the best detector into Production if the gate lets it, and returns what was decided and why.

    `versions` holds the version of each result; the baselines of an experiment have none. An experiment (`dvc exp run`)
    is judged and never promoted. Deciding the same again changes nothing and reports the same.
    """
    model = model_name(results[0].dataset)
    with one_at_a_time(layout, model, wait=True):
        log = DecisionLog(client, layout, model)
        log.settle()
        champion = held(client, model, "Production")
        evidence = Evidence(client, layout, results)
        facing = evidence.champion(champion)
        chosen = log.choice_of(champion.number) if champion else None
        decisions = [
            decide(
                evidence.of_roster(result, versions[result.detector], champion, chosen),
                facing,
                params.promotion,
                bootstrap_of(params),
            )
            for result in results
        ]
        decisions, winner = best_of(decisions)
        report = _report(model, decisions, winner, champion, params)
        for result, standing in zip(results, report["standings"], strict=True):
            version = versions[result.detector]
            standing |= {"digest": result.digest, "version": version.number if version else None}
        if experiment_name():
            return _of_experiment(log, report)
        if winner:
            report["promoted"] = named(versions[winner.detector])
        return _remembered(log, report)


def bootstrap_of(params: Params) -> Bootstrap:
    """The resamples that the gate's bounds come from."""
    return Bootstrap(params.evaluation.resamples, params.evaluation.confidence, params.seed)


def best_of(decisions: Sequence[Decision]) -> tuple[list[Decision], Decision | None]:
    """The decisions with one promotion at most, that of the greatest value; None where nothing is to change."""
    passed = [decision for decision in decisions if decision.verdict == "promote"]
    if not passed:
        return list(decisions), None
    winner = max(passed, key=_value)
    return [
        replace(
            decision,
            verdict="refused",
            reason=f"{winner.detector} is better by {_value(winner) - _value(decision):.4f}",
        )
        if decision in passed and decision is not winner
        else decision
        for decision in decisions
    ], winner


def _report(
    model: str, decisions: Sequence[Decision], winner: Decision | None, champion: Version | None, params: Params
) -> Report:
    experiment = experiment_name()
    standings = json.loads(json.dumps([asdict(decision) for decision in decisions]))  # as a report read back has them
    reason = f"{winner.detector}: {winner.reason}" if winner else _why_none(decisions)
    for standing in standings:
        if standing["verdict"] == "promote":
            standing["verdict"] = "experiment" if experiment else "promoted"
    if winner and experiment:
        reason = f"not promoted: experiment {experiment} ({reason})"
    return {
        "model": model,
        "metric": f"val/{params.promotion.metric}",
        "policy": params.promotion.model_dump(),
        "reason": reason,
        "champion": named(champion),
        "promoted": None,
        "standings": standings,
    }


def _why_none(decisions: Sequence[Decision]) -> str:
    """Why nothing is promoted: of the champion, and of whatever has the greater value and is refused all the same."""
    champion = next((decision for decision in decisions if decision.verdict == "champion"), None)
    refused = [decision for decision in decisions if decision.verdict == "refused"]
    if champion is None and not refused:
        return "the roster has no detector but baselines"
    said = [champion.reason] if champion else []
    best = max(refused, key=_value, default=None)
    if best is not None and (champion is None or _value(best) > _value(champion)):
        said.append(f"{best.detector} is refused: {best.reason}")
    return "; ".join(said)


def _value(decision: Decision) -> float:
    return float("-inf") if decision.value is None else decision.value


def named(version: Version | None) -> dict[str, Any] | None:
    """What reports and logs say of a version."""
    if version is None:
        return None
    return {"version": version.number, "detector": version.detector, "digest": version.digest}


def _of_experiment(log: DecisionLog, report: Report) -> Report:
    """The report, written down unless the last one of an experiment says the same."""
    if _told(report) != _told(_last(log, "experiment")):
        title = f"experiment {experiment_name()}: nothing promoted"
        log.record(Entry(0, "", "", "experiment", title, report["reason"]), report)
    return report


def _remembered(log: DecisionLog, report: Report) -> Report:
    """The report, written down and carried out, unless the last one of a repro says the same.

    While what a repro has promoted is in Production and nothing is judged otherwise, the report of then stands.
    """
    before = _last(log, "publish")
    if not report["promoted"] and (_told(before) == _told(report) or _stands(before, report)):
        return before
    promoted, champion = report["promoted"], report["champion"]
    title = "nothing promoted"
    if promoted:
        title = f"version {promoted['version']} ({promoted['detector']}) to Production"
    entry = Entry(0, "", "", "publish", title, report["reason"])
    if promoted:
        entry = replace(
            entry, version=promoted["version"], stage="Production", replaced=champion and champion["version"]
        )
    log.record(entry, report)
    return report


def _last(log: DecisionLog, action: str) -> Report:
    """The report of the last decision of that kind, {} if there is none."""
    return next((log.report(run) for entry, run in log.entries() if entry.action == action), {})


def _told(report: Report) -> list[Any]:
    return [report.get(key) for key in ("policy", "reason", "champion", "promoted", "standings")]


def _stands(before: Report, report: Report) -> bool:
    """Whether the only news is that what was promoted then is the champion now."""
    if not before.get("promoted") or [before["promoted"], before["policy"]] != [report["champion"], report["policy"]]:
        return False
    if len(before["standings"]) != len(report["standings"]):
        return False
    judged = [(s["detector"], s["digest"], s["value"], s["verdict"]) for s in report["standings"]]
    then = [
        # an older medscreen kept no digests
        (s["detector"], s.get("digest", now[1]), s["value"], {"promoted": "champion"}.get(s["verdict"], s["verdict"]))
        for s, now in zip(before["standings"], judged, strict=True)
    ]
    return then == judged
