"""Promotions and rollbacks: automatically after a repro, or manually of a named version."""

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
from medscreen.registry.versions import LostVersionError, Version, require_graph, version_in_stage, versions_of
from medscreen.tracking import names
from medscreen.tracking.detector_results import Result, read_results
from medscreen.tracking.names import model_name
from medscreen.tracking.run_state import UnreachableFilesError, find_run
from medscreen.tracking.runs import experiment_name
from medscreen.workspace.layout import Layout

Report = dict[str, Any]


def bootstrap_of(params: Params) -> Bootstrap:
    """Bootstrap settings of the gate's bounds."""
    return Bootstrap(params.evaluation.resamples, params.evaluation.confidence, params.seed)


def promote_best(
    client: MlflowClient,
    layout: Layout,
    results: Sequence[Result],
    versions: Mapping[str, Version | None],
    params: Params,
) -> Report:
    """Promotes the best detector that passes the gate to Production; returns the decisions with their reasons.

    `versions`: detector -> version of its result, None for the baselines of an experiment. An experiment
    (`dvc exp run`) is judged and never promoted. The function is idempotent.
    """
    model = model_name(results[0].dataset)
    with deciding(client, layout, model, wait=True) as log:
        champion = version_in_stage(client, model, "Production")
        chosen = log.choice_of(champion.number) if champion else None
        evidence = Evidence(client, layout, results)
        facing = evidence.champion(champion)
        candidates = [evidence.of_roster(r, versions[r.detector], champion, chosen) for r in results]
        decisions = [decide(one, facing, params.promotion, bootstrap_of(params)) for one in candidates]
        winner = max((one for one in decisions if one.verdict == "promote"), key=_value, default=None)
        for place, one in enumerate(decisions):
            if winner and one.verdict == "promote" and one is not winner:
                reason = f"{winner.detector} is better by {_value(winner) - _value(one):.4f}"
                decisions[place] = replace(one, verdict="refused", reason=reason)
        return _recorded(log, _report(results, versions, decisions, winner, champion, params))


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
    # plain JSON values, to be compared with a report read back
    standings = json.loads(json.dumps([asdict(decision) for decision in decisions]))
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
    """Reasons for promoting nothing: the champion, and the best refused version if its metric is higher."""
    reasons = [one.reason for one in decisions if one.verdict == "champion"]
    to_beat = max((_value(one) for one in decisions if one.verdict == "champion"), default=None)
    best = max((one for one in decisions if one.verdict == "refused"), key=_value, default=None)
    if best is not None and (to_beat is None or _value(best) > to_beat):
        reasons.append(f"{best.detector} is refused: {best.reason}")
    return "; ".join(reasons) or "the roster has only baselines"


def _named(version: Version | None) -> dict[str, Any] | None:
    """Identification of a version in reports and in the log."""
    if version is None:
        return None
    return {"version": version.number, "detector": version.detector, "digest": version.digest}


def _recorded(log: DecisionLog, report: Report) -> Report:
    """Logs the report and carries it out; if it repeats the last one of its kind, returns that instead."""
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
    repeated = all(before.get(key) == report[key] for key in ("policy", "reason", "champion", "promoted", "standings"))
    if not promoted and (repeated or _stands(before, report)):
        return report if experiment else before
    log.record(entry, report)
    return report


def _stands(before: Report, report: Report) -> bool:
    """True if the reports differ only in that the promoted version of the first is the champion of the second."""
    if not before.get("promoted") or [before["promoted"], before["policy"]] != [report["champion"], report["policy"]]:
        return False
    then, now = (
        [[standing.get(key) for key in ("detector", "digest", "value", "verdict")] for standing in of["standings"]]
        for of in (before, report)
    )
    return [[*of, "champion" if verdict == "promoted" else verdict] for *of, verdict in then] == now


def promote_version(
    client: MlflowClient, layout: Layout, version: Version, stage: str, params: Params, forced: str
) -> Decision | None:
    """Moves a registered version to Staging, or to Production if it passes the gate or `forced` gives a reason.

    Returns the gate's decision, None for Staging. Raises MedscreenError if the version is in the stage already, its
    files are lost or changed, Production would be left empty, or the gate refuses; a refusal is logged.
    """
    with deciding(client, layout, version.model) as log:
        former, champion = (version_in_stage(client, version.model, one) for one in (stage, "Production"))
        if former is not None and former.number == version.number:
            raise MedscreenError(f"{version} is in {stage} already.")
        if champion is not None and champion.number == version.number:
            raise MedscreenError(
                f"{version} is in Production, which would be left empty. Promote another version first, or run "
                "`medscreen rollback`."
            )
        _require_usable(client, layout, version)
        decision = _judged(client, layout, version, champion, params) if stage == "Production" else None
        is_refused = decision is not None and decision.verdict != "promote"
        title = f"version {version.number} ({version.detector}) to {stage}"
        reason = decision.reason if decision else "moved to Staging manually"
        report = {"decision": decision and asdict(decision), "policy": params.promotion.model_dump()}
        if is_refused and not forced:
            entry = Entry(action="promote", title=f"refused: {title}", reason=reason)
        else:
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
        if find_run(client, version.run_id) is not None:
            client.log_text(version.run_id, json.dumps(report, indent=1), "decision.json")
        if entry.version is None:
            if version.stage == "None":
                client.set_model_version_tag(version.model, str(version.number), names.DECISION, f"refused: {reason}")
            raise MedscreenError(f'{version} is refused: {reason}. To promote it all the same: --force --reason "WHY".')
    return decision


def _judged(
    client: MlflowClient, layout: Layout, version: Version, champion: Version | None, params: Params
) -> Decision:
    """The gate's decision; a refusal if version or workspace can't be evaluated."""
    try:
        evidence = Evidence(client, layout, read_results(layout, params))
        candidate = evidence.of_version(version, champion)
    except MedscreenError as error:
        reason = error.reason if isinstance(error, LostVersionError) else str(error).rstrip(".")
        metric = f"val/{params.promotion.metric}"
        return Decision(version.detector, metric, None, "refused", f"it can't be judged: {reason}", ())
    return decide(candidate, evidence.champion(champion), params.promotion, bootstrap_of(params))


def _require_usable(client: MlflowClient, layout: Layout, version: Version) -> None:
    """Raises LostVersionError unless a version's files are those registered and screen a test image."""
    try:
        detector = PackagedDetector(require_graph(client, layout, version))
        detector.screen(np.full((1, detector.image_size, detector.image_size), 128, np.uint8))
    except (LostVersionError, UnreachableFilesError):  # unreachable files are not lost
        raise
    except MedscreenError as error:
        raise LostVersionError(version, " ".join(str(error).split()).rstrip(".")) from error


def roll_back(client: MlflowClient, layout: Layout, model: str, reason: str) -> tuple[Version, Version]:
    """Replaces the version in Production by the one before it; returns both, in that order.

    The replaced version is archived and tagged, so that no repro promotes it again. Raises MedscreenError if Production
    is empty or no former version can be restored.
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
    """The last former version of Production that was not rolled back and can be used."""
    others = {version.number: version for version in versions_of(client, now.model) if version.number != now.number}
    faults: dict[int, str] = {}

    def is_usable(version: Version) -> bool:
        if version.number not in faults:
            try:
                _require_usable(client, layout, version)
                faults[version.number] = ""
            except LostVersionError as error:
                faults[version.number] = error.reason
        return not faults[version.number]

    for entry in log.moves():
        version = others.get(entry.version or 0) if entry.stage == "Production" else None
        # by digest, too: version numbers repeat after a model was deleted
        if version and not version.rolled_back and entry.digest in {"", version.digest} and is_usable(version):
            return version
    tried = "".join(f"; version {number}: {fault}" for number, fault in faults.items())
    usable = [str(number) for number, version in others.items() if is_usable(version)]
    way_out = "No other version can be used either; `dvc repro` registers the results of the workspace."
    if usable:
        way_out = f"Versions that can be used: {', '.join(usable)}; `medscreen promote VERSION` puts one there."
    raise MedscreenError(
        f"No version that was in Production before {now} can go back: there was none, or each is rolled back itself or "
        f"can't be used{tried}. {way_out}"
    )
