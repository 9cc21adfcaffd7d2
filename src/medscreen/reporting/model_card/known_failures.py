"""Known failures of a version, computed from its reports; model_card.md.j2 holds the sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from medscreen.evaluation.sample_size import is_too_few
from medscreen.reporting.model_card.facts import CardFacts

_LEVEL = 0.05  # of the conformal p-values that are checked


def known_failures(facts: CardFacts) -> dict[str, Any]:
    """Check -> failures found, as values for the template; None if the reports lack its inputs."""
    analysis = facts.analysis
    subgroups = [
        (f"{attribute} {group}", row)
        for attribute, groups in analysis.get("subgroups", {}).items()
        if len(groups) > 1
        for group, row in groups.items()
    ]
    findings = list(analysis.get("findings", {}).items())
    leaks = facts.curation.get("leaks")
    return {
        "leaks": leaks if leaks is None else [leaks] if leaks else [],
        "chance": _no_better_than_chance(facts.estimate("test", "auroc")),
        "subgroups": _weak("sensitivity", subgroups, facts),
        "findings": _weak("auroc", findings if len(findings) > 1 else [], facts),
        "drift": _drift(facts),
        "false_alarms": _false_alarms(analysis.get("false_positive_rate_at_p", {}).get(str(_LEVEL))),
        "calibration": _miscalibration(facts.estimate("test", "ece"), analysis.get("ece_by_chance", {}).get("test")),
        "seeds": _seeds(facts),
    }


def _bounded(estimate: Mapping[str, Any] | None) -> bool:
    """True if value and interval are present."""
    return estimate is not None and None not in (estimate["value"], estimate["low"], estimate["high"])


def _no_better_than_chance(auroc: Mapping[str, Any] | None) -> list[Any] | None:
    if auroc is None or not _bounded(auroc):
        return None
    return [auroc] if auroc["low"] <= 0.5 else []


def _weak(metric: str, groups: Sequence[tuple[str, Mapping[str, Any]]], facts: CardFacts) -> list[Any] | None:
    """Group with the lowest value, if below that of the whole split, then groups whose interval ends below it."""
    whole = facts.estimate("test", metric)
    measured = [(name, row["abnormal"], row["metrics"].get(metric)) for name, row in groups]
    ranked = sorted(
        (entry for entry in measured if _bounded(entry[2])), key=lambda entry: (entry[2]["value"], entry[2]["high"])
    )
    if not ranked or whole is None:
        return None
    return [
        {"name": name, "abnormal": abnormal, "estimate": estimate, "whole": whole["value"]}
        for position, (name, abnormal, estimate) in enumerate(ranked)
        if estimate["high"] < whole["value"] or (position == 0 and estimate["value"] < whole["value"])
    ]


def _drift(facts: CardFacts) -> dict[str, Any] | None:
    """Error rate -> estimates on val and test, if it rises; None if neither rate can be compared."""
    rising: dict[str, Any] | None = None
    for rate in ("false_positive_rate", "false_negative_rate"):
        val, test = facts.estimate("val", rate), facts.estimate("test", rate)
        if val is None or test is None or not (_bounded(val) and _bounded(test)):
            continue
        rising = rising or {}
        rise = round(test["value"] - val["value"], 3)
        if rise > 0:
            rising[rate] = {"rise": rise, "val": val, "test": test}
    return rising


def _false_alarms(rate: Mapping[str, Any] | None) -> list[Any] | None:
    if rate is None or not _bounded(rate):
        return None
    return [{"rate": rate, "level": _LEVEL}] if rate["value"] > _LEVEL else []


def _miscalibration(ece: Mapping[str, Any] | None, by_chance: Mapping[str, Any] | None) -> list[Any] | None:
    if ece is None or by_chance is None or not _bounded(by_chance):
        return None
    return [{"ece": ece["value"], "by_chance": by_chance}] if ece["value"] > by_chance["high"] else []


def _seeds(facts: CardFacts) -> list[Any] | None:
    over = facts.analysis.get("seeds", {}).get("test", {})
    values = [value for value in over.get("auroc", {}).values() if value is not None]
    if len(values) < 2 or is_too_few(facts.estimate("test", "auroc")):
        return None
    spread = {name: over.get(name) for name in ("mean", "sd")}
    return [{"low": min(values), "high": max(values), "runs": len(values), **spread}]
