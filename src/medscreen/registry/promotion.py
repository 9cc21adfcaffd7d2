"""Promotions and rollbacks: the best detector after a repro, or the version that a person names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.errors import MedscreenError
from medscreen.evaluation.bootstrap import Bootstrap
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.decision_log import DecisionLog, Entry, deciding
from medscreen.registry.gate import Decision, decide
from medscreen.registry.gate_evidence import Evidence
from medscreen.registry.versions import (
    DECISION,
    LostVersionError,
    Version,
    model_name,
    require_graph,
    version_in_stage,
    versions_of,
)
from medscreen.tracking.detector_results import Result, read_results
from medscreen.tracking.run_state import UnreachableFilesError, find_run
from medscreen.tracking.runs import experiment_name
from medscreen.workspace.layout import Layout

Report = dict[str, Any]


def bootstrap_of(params: Params) -> Bootstrap:
    """The resamples that the gate's bounds come from."""
    return Bootstrap(params.evaluation.resamples, params.evaluation.confidence, params.seed)


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
    with deciding(client, layout, model, wait=True) as log:
        champion = version_in_stage(client, model, "Production")
        chosen = log.choice_of(champion.number) if champion else None
        evidence = Evidence(client, layout, results)
        facing = evidence.champion(champion)
        candidates = [evidence.of_roster(r, versions[r.detector], champion, chosen) for r in results]
        decisions = [decide(one, facing, params.promotion, bootstrap_of(params)) for one in candidates]
        decisions, winner = best_of(decisions)
        report = _report(results, versions, decisions, winner, champion, params)
        return _recorded(log, report)


def best_of(decisions: Sequence[Decision]) -> tuple[list[Decision], Decision | None]:
    """The decisions with one promotion at most, that of the greatest value; None where nothing is to change."""
    passed = [decision for decision in decisions if decision.verdict == "promote"]
    winner = max(passed, key=_value, default=None)
    if winner is None:
        return list(decisions), None
    return [
        replace(one, verdict="refused", reason=f"{winner.detector} is better by {_value(winner) - _value(one):.4f}")
        if one in passed and one is not winner
        else one
        for one in decisions
    ], winner


def _value(decision: Decision) -> float:
    return float("-inf") if decision.value is None else decision.value


def _report(
    results: Sequence[Result],
    versions: Mapping[str, Version | None],
    decisions: Sequence[Decision],
    winner: Decision | None,
    champion: Version | None,
    params: Params,
) -> Report:
    """The content of reports/promotion.json."""
    experiment = experiment_name()
    standings = json.loads(json.dumps([asdict(decision) for decision in decisions]))  # as a report read back has them
    for result, standing in zip(results, standings, strict=True):
        version = versions[result.detector]
        if standing["verdict"] == "promote":
            standing["verdict"] = "experiment" if experiment else "promoted"
        standing |= {"digest": result.digest, "version": version.number if version else None}
    reason = f"{winner.detector}: {winner.reason}" if winner else _why_none(decisions)
    return {
        "model": model_name(results[0].dataset),
        "metric": f"val/{params.promotion.metric}",
        "policy": params.promotion.model_dump(),
        "reason": f"not promoted: experiment {experiment} ({reason})" if winner and experiment else reason,
        "champion": _named(champion),
        "promoted": _named(versions[winner.detector]) if winner and not experiment else None,
        "standings": standings,
    }


def _why_none(decisions: Sequence[Decision]) -> str:
    """Why nothing is promoted: of the champion, and of whatever has the greater value and is refused all the same."""
    champion = next((decision for decision in decisions if decision.verdict == "champion"), None)
    refused = [decision for decision in decisions if decision.verdict == "refused"]
    if champion is None and not refused:
        return "the roster has no detector but baselines"
    reasons = [champion.reason] if champion else []
    best = max(refused, key=_value, default=None)
    if best is not None and (champion is None or _value(best) > _value(champion)):
        reasons.append(f"{best.detector} is refused: {best.reason}")
    return "; ".join(reasons)


def _named(version: Version | None) -> dict[str, Any] | None:
    """How reports and the log identify a version."""
    if version is None:
        return None
    return {"version": version.number, "detector": version.detector, "digest": version.digest}


def _recorded(log: DecisionLog, report: Report) -> Report:
    """The report, logged and carried out; the last one of its kind instead where this one repeats it."""
    experiment, promoted, champion = experiment_name(), report["promoted"], report["champion"]
    entry = Entry(
        action="experiment" if experiment else "publish",
        title=f"experiment {experiment}: nothing promoted" if experiment else "nothing promoted",
        reason=report["reason"],
    )
    if promoted:
        entry = replace(
            entry,
            title=f"version {promoted['version']} ({promoted['detector']}) to Production",
            version=promoted["version"],
            stage="Production",
            replaced=champion and champion["version"],
        )
    before = next((log.report(run) for known, run in log.entries() if known.action == entry.action), {})
    if not promoted and (_is_same(before, report) or _stands(before, report)):
        return report if experiment else before
    log.record(entry, report)
    return report


def _is_same(before: Report, report: Report) -> bool:
    return all(before.get(key) == report[key] for key in ("policy", "reason", "champion", "promoted", "standings"))


def _stands(before: Report, report: Report) -> bool:
    """Whether the only news is that what was promoted then is the champion now."""
    if not before.get("promoted") or [before["promoted"], before["policy"]] != [report["champion"], report["policy"]]:
        return False
    keys = ("detector", "digest", "value", "verdict")
    then = [{key: standing.get(key) for key in keys} for standing in before["standings"]]
    now = [{key: standing[key] for key in keys} for standing in report["standings"]]
    for standing in then:
        if standing["verdict"] == "promoted":
            standing["verdict"] = "champion"
    return then == now


def promote_version(
    client: MlflowClient, layout: Layout, version: Version, stage: str, params: Params, forced: str
) -> Decision | None:
    """Puts a registered version into Staging, or into Production if the gate lets it or `forced` is the reason to.

    Returns the gate's decision, None for Staging, which has no gate. Raises MedscreenError where the version is there
    already, where its files are lost or changed, where Production would be left empty, and where the gate refuses; the
    refusal is in the log.
    """
    name = f"{version.model} version {version.number}"
    with deciding(client, layout, version.model) as log:
        in_production = version_in_stage(client, version.model, "Production")
        former = in_production if stage == "Production" else version_in_stage(client, version.model, stage)
        if former is not None and former.number == version.number:
            raise MedscreenError(f"{name} is in {stage} already.")
        if in_production is not None and in_production.number == version.number:
            raise MedscreenError(
                f"{name} is in Production, which would be left empty: put another one there first, or medscreen "
                "rollback."
            )
        _require_usable(client, layout, version)
        decision = _judged(client, layout, version, former, params) if stage == "Production" else None
        is_refused = decision is not None and decision.verdict != "promote"
        title = f"version {version.number} ({version.detector}) to {stage}"
        reason = decision.reason if decision else "put into Staging by hand"
        report = {"decision": decision and asdict(decision), "policy": params.promotion.model_dump()}
        if is_refused and not forced:
            log.record(Entry(action="promote", title=f"refused: {title}", reason=reason), report)
            _keep_report(client, version, report)
            if version.stage == "None":
                client.set_model_version_tag(version.model, str(version.number), DECISION, f"refused: {reason}")
            raise MedscreenError(f'{name} is refused: {reason}. To promote it all the same: --force --reason "WHY".')
        entry = Entry(
            action="promote",
            title=f"{title}, forced" if is_refused else title,
            reason=f"{forced} (the gate: {reason})" if forced and decision else forced or reason,
            version=version.number,
            stage=stage,
            replaced=former.number if former else None,
            forced=is_refused,
        )
        log.record(entry, report)
        _keep_report(client, version, report)
    return decision


def _keep_report(client: MlflowClient, version: Version, report: Report) -> None:
    if find_run(client, version.run_id) is not None:
        client.log_text(version.run_id, json.dumps(report, indent=1), "decision.json")


def _judged(
    client: MlflowClient, layout: Layout, version: Version, champion: Version | None, params: Params
) -> Decision:
    """The gate's decision; a refusal, too, where the version or the workspace can't be judged."""
    try:
        evidence = Evidence(client, layout, read_results(layout, params))
        candidate = evidence.of_version(version, champion)
    except MedscreenError as error:
        reason = error.reason if isinstance(error, LostVersionError) else str(error).rstrip(".")
        metric = f"val/{params.promotion.metric}"
        return Decision(version.detector, metric, None, "refused", f"it can't be judged: {reason}", ())
    return decide(candidate, evidence.champion(champion), params.promotion, bootstrap_of(params))


def _require_usable(client: MlflowClient, layout: Layout, version: Version) -> None:
    """Raises LostVersionError unless the files of a version are those registered and compute on an image."""
    try:
        detector = PackagedDetector(require_graph(client, layout, version))
        detector.screen(np.full((1, detector.image_size, detector.image_size), 128, np.uint8))
    except (LostVersionError, UnreachableFilesError):  # files out of reach may well be whole
        raise
    except MedscreenError as error:
        raise LostVersionError(version, " ".join(str(error).split()).rstrip(".")) from error


def roll_back(client: MlflowClient, layout: Layout, model: str, reason: str) -> tuple[Version, Version]:
    """Takes the version in Production out of it and puts the one before it back; returns both, in that order.

    The one taken out is archived and marked: no repro promotes it again. Raises MedscreenError where nothing is in
    Production, and where nothing was there before that can go back.
    """
    with deciding(client, layout, model) as log:
        now = version_in_stage(client, model, "Production")
        if now is None:
            raise MedscreenError(f"{model} has no version in Production to roll back.")
        before = _version_before(client, layout, now, log)
        entry = Entry(
            action="rollback",
            title=f"version {now.number} ({now.detector}) rolled back to version {before.number}",
            reason=reason,
            version=before.number,
            stage="Production",
            replaced=now.number,
        )
        log.record(entry, {"from": _named(now), "to": _named(before)})
    return now, before


def _version_before(client: MlflowClient, layout: Layout, now: Version, log: DecisionLog) -> Version:
    """The last version that was in Production before, is not rolled back itself and can be used."""
    others = {version.number: version for version in versions_of(client, now.model) if version.number != now.number}
    faults: dict[int, str] = {}
    for entry in log.moves():
        version = others.get(entry.version or 0) if entry.stage == "Production" else None
        # the model may have been deleted and its numbers given again
        if version is None or version.rolled_back or entry.digest not in {"", version.digest}:
            continue
        if not (fault := _fault(client, layout, version)):
            return version
        faults[version.number] = fault
    usable = [str(n) for n, version in others.items() if n not in faults and not _fault(client, layout, version)]
    way_out = "No other version can be used either: `dvc repro` registers what the workspace holds."
    if usable:
        way_out = f"Versions that can be used: {', '.join(usable)}; `medscreen promote VERSION` puts one there."
    raise MedscreenError(
        f"No version that was in Production before {now.model} version {now.number} can go back: there was none, or "
        "each is rolled back itself or can't be used"
        f"{''.join(f'; version {number}: {fault}' for number, fault in faults.items())}. {way_out}"
    )


def _fault(client: MlflowClient, layout: Layout, version: Version) -> str:
    """Why a version can't be used, "" if it can; raises UnreachableFilesError where that can't be told."""
    try:
        _require_usable(client, layout, version)
    except LostVersionError as error:
        return error.reason
    return ""
