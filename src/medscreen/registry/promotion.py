"""What a person moves: a version to Staging or Production, and Production back to what it was."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.champion_selection import bootstrap_of, named
from medscreen.registry.decision_log import DecisionLog, Entry
from medscreen.registry.gate import Decision, decide
from medscreen.registry.gate_evidence import Evidence, LostVersionError
from medscreen.registry.stages import one_at_a_time
from medscreen.registry.versions import DECISION, Version, checked_graph, held, unusable, versions_of
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.run_state import UnreachableFilesError, find_run
from medscreen.workspace.layout import Layout


def promote_version(
    client: MlflowClient,
    layout: Layout,
    version: Version,
    stage: str,
    params: Params,
    forced: str,
) -> Decision | None:
    """Puts a registered version into Staging, or into Production if the gate lets it or `forced` says why not to ask.

    Returns the gate's decision, None for Staging, which has no gate. Raises MedscreenError where the version is there
    already, where its files are lost or changed, where Production would be left empty, and where the gate refuses; the
    refusal is in the log.
    """
    with one_at_a_time(layout, version.model, wait=False):
        log = DecisionLog(client, layout, version.model)
        log.settle()
        champion = held(client, version.model, stage)
        if champion is not None and champion.number == version.number:
            raise MedscreenError(f"{version.model} version {version.number} is in {stage} already.")
        in_production = held(client, version.model, "Production")
        if in_production is not None and in_production.number == version.number:
            raise MedscreenError(
                f"{version.model} version {version.number} is in Production, which would be left empty: put another "
                "one there first, or medscreen rollback."
            )
        _require_usable(client, layout, version)
        decision = _judged(client, layout, version, champion, params) if stage == "Production" else None
        entry = _move(version, stage, champion, decision, forced)
        report = {"decision": decision and asdict(decision), "policy": params.promotion.model_dump()}
        if decision is not None and decision.verdict != "promote" and not forced:
            refused = replace(entry, title=f"refused: {entry.title}", version=None, stage="", replaced=None)
            log.record(refused, report)
            _tell(client, version, report, f"refused: {decision.reason}" if version.stage == "None" else "")
            raise MedscreenError(
                f"{version.model} version {version.number} is refused: {decision.reason}. To promote it all the same: "
                '--force --reason "WHY".'
            )
        log.record(entry, report)
        _tell(client, version, report)
    return decision


def _tell(client: MlflowClient, version: Version, report: Mapping[str, Any], decision: str = "") -> None:
    """Keeps a decision with the version's run; and as its tag, unless it has moved, which the log has told."""
    if find_run(client, version.run_id) is not None:
        client.log_text(version.run_id, json.dumps(report, indent=1), "decision.json")
    if decision:
        client.set_model_version_tag(version.model, str(version.number), DECISION, decision)


def _judged(
    client: MlflowClient, layout: Layout, version: Version, champion: Version | None, params: Params
) -> Decision:
    try:
        evidence = Evidence(client, layout, read_results(layout, params))
        candidate = evidence.of_version(version, champion)
    except MedscreenError as error:
        metric = f"val/{params.promotion.metric}"
        said = error.reason if isinstance(error, LostVersionError) else str(error).rstrip(".")
        return Decision(version.detector, metric, None, "refused", f"it can't be judged: {said}", ())
    facing = evidence.champion(champion)
    return decide(candidate, facing, params.promotion, bootstrap_of(params))


def _move(version: Version, stage: str, former: Version | None, decision: Decision | None, forced: str) -> Entry:
    reason = decision.reason if decision else "put into Staging by hand"
    overruled = decision is not None and decision.verdict != "promote" and bool(forced)
    return Entry(
        number=0,
        at="",
        by="",
        action="promote",
        title=f"version {version.number} ({version.detector}) to {stage}" + (", forced" if overruled else ""),
        reason=f"{forced} (the gate: {reason})" if forced and decision else forced or reason,
        version=version.number,
        stage=stage,
        replaced=former.number if former else None,
        forced=overruled,
    )


def _require_usable(client: MlflowClient, layout: Layout, version: Version) -> None:
    if fault := _fault(client, layout, version):
        raise unusable(version, "used", fault)


def _fault(client: MlflowClient, layout: Layout, version: Version) -> str:
    """Why a version can't be used: its files are lost, not those registered, or can't be computed on an image."""
    try:
        detector = PackagedDetector(checked_graph(client, layout, version))
        detector.screen(np.full((1, detector.image_size, detector.image_size), 128, np.uint8))
    except UnreachableFilesError:  # they may well be whole
        raise
    except MedscreenError as error:
        return " ".join(str(error).split()).rstrip(".")
    return ""


def roll_back(client: MlflowClient, layout: Layout, model: str, reason: str) -> tuple[Version, Version]:
    """Takes the version in Production out of it and puts the one before it back; returns both, in that order.

    The one taken out is archived and marked: no repro promotes it again. Raises MedscreenError where nothing is in
    Production, and where nothing was there before that can go back.
    """
    with one_at_a_time(layout, model, wait=False):
        log = DecisionLog(client, layout, model)
        log.settle()
        now = held(client, model, "Production")
        if now is None:
            raise MedscreenError(f"{model} has no version in Production to roll back.")
        before = _version_before(client, layout, now, log)
        log.record(
            Entry(
                number=0,
                at="",
                by="",
                action="rollback",
                title=f"version {now.number} ({now.detector}) rolled back to version {before.number}",
                reason=reason,
                version=before.number,
                stage="Production",
                replaced=now.number,
            ),
            {"from": named(now), "to": named(before)},
        )
    return now, before


def _version_before(client: MlflowClient, layout: Layout, now: Version, log: DecisionLog) -> Version:
    """The last version that was in Production before, is not rolled back itself and can be used."""
    known = {version.number: version for version in versions_of(client, now.model)}
    faulty: dict[int, str] = {}
    for entry in log.moves():
        version = known.get(entry.version or 0) if entry.stage == "Production" else None
        if version is None or version.number == now.number or version.rolled_back or version.number in faulty:
            continue
        # the model may have been deleted and its numbers given again
        if entry.digest and entry.digest != version.digest:
            continue
        if fault := _fault(client, layout, version):
            faulty[version.number] = fault
            continue
        return version
    others = [str(n) for n, v in known.items() if n not in faulty and n != now.number and not _fault(client, layout, v)]
    said = [f"version {number}: {fault}" for number, fault in faulty.items()]
    way_out = "No other version can be used either: `dvc repro` registers what the workspace holds."
    if others:
        way_out = f"Versions that can be used: {', '.join(others)}; `medscreen promote VERSION` puts one there."
    raise MedscreenError(
        f"No version that was in Production before {now.model} version {now.number} can go back: there was none, or "
        f"each is rolled back itself or can't be used{''.join(f'; {one}' for one in said)}. {way_out}"
    )
