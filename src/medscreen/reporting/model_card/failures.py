"""The section on where a version fails: each sentence is computed from its reports, none is written beforehand."""

from collections.abc import Mapping, Sequence
from typing import Any

from medscreen.evaluation.sample_size import is_too_few
from medscreen.reporting.model_card.facts import CardFacts
from medscreen.reporting.model_card.population import leaks
from medscreen.reporting.pages.markdown import bullets, inert, interval, section, share

Metrics = Mapping[str, Any]
_PROMISED = 0.05  # the level of the conformal p-values that is looked at
_DRIFTING = {"false_positive_rate": "False positive rate", "false_negative_rate": "False negative rate"}


def known_failures(facts: CardFacts) -> str:
    """What the reports show to go wrong, with numbers; where nothing does, what was looked at."""
    checks = {
        "leaks between splits": _leaks(facts),
        "ranking against guessing": _guessing(facts),
        "sensitivity of subgroups": _subgroups(facts),
        "AUROC of findings": _findings(facts),
        "error rates from val to test": _drift(facts),
        "false alarms by p-value": _false_alarms(facts),
        "calibration against chance": _miscalibration(facts),
        "spread over seeds": _seeds(facts),
    }
    lines = [line for found in checks.values() for line in found or ()]
    checked = ", ".join(name for name, found in checks.items() if found is not None)
    unchecked = ", ".join(name for name, found in checks.items() if found is None)
    if lines:
        outcome = f"Computed from val and test{facts.aside}. The worst of several looks worse than it is, by chance."
    elif checked:
        outcome = f"None was found on val and test{facts.aside}, which does not mean that there is none."
    else:
        outcome = "Nothing could be checked: the reports of this version hold none of the numbers."
    return section(
        "Known failures",
        outcome,
        bullets(lines),
        f"Looked at: {checked}." if checked else "",
        f"Not looked at, for want of data: {unchecked}." if unchecked else "",
    )


def _leaks(facts: CardFacts) -> list[str] | None:
    found = facts.curation.get("leaks")
    if found is None:
        return None
    return [f"Splits share images or patients, which flatters every number: {leaks(found)}."] if found else []


def _guessing(facts: CardFacts) -> list[str] | None:
    area = facts.estimate("test", "auroc")
    if area is None or not _bounded(area):
        return None
    if area["low"] > 0.5:
        return []
    verdict = "is not told from guessing" if area["high"] >= 0.5 else "is worse than guessing"
    return [f"The ranking {verdict}: AUROC {interval(area)} on test."]


def _subgroups(facts: CardFacts) -> list[str] | None:
    groups = [
        (f"{inert(trait)} {inert(group)}", row)
        for trait, of_trait in facts.analysis.get("subgroups", {}).items()
        if len(of_trait) > 1
        for group, row in of_trait.items()
    ]
    return _weak("Sensitivity", "sensitivity", groups, facts.estimate("test", "sensitivity"))


def _findings(facts: CardFacts) -> list[str] | None:
    found = [(inert(name), row) for name, row in facts.analysis.get("findings", {}).items()]
    return _weak("AUROC", "auroc", found if len(found) > 1 else [], facts.estimate("test", "auroc"))


def _weak(words: str, metric: str, groups: Sequence[tuple[str, Metrics]], whole: Metrics | None) -> list[str] | None:
    """The group that does worst, if worse than the whole split, and those whose interval ends below that."""
    measured = [(name, row["abnormal"], row["metrics"].get(metric)) for name, row in groups]
    ranked = sorted(
        (entry for entry in measured if _bounded(entry[2])), key=lambda entry: (entry[2]["value"], entry[2]["high"])
    )
    if not ranked or whole is None:
        return None
    lines = []
    for position, (name, abnormal, estimate) in enumerate(ranked):
        below = estimate["high"] < whole["value"]
        if below or (position == 0 and estimate["value"] < whole["value"]):
            lines.append(
                f"{words} is {'low' if position else 'lowest'} for {name}: {interval(estimate)} on {abnormal} abnormal "
                f"images; the interval {'ends below' if below else 'reaches'} the {share(whole['value'])} of the whole "
                "split."
            )
    return lines


def _bounded(estimate: Metrics | None) -> bool:
    """Whether there is a value with an interval to hold it against something."""
    return estimate is not None and None not in (estimate["value"], estimate["low"], estimate["high"])


def _drift(facts: CardFacts) -> list[str] | None:
    lines, compared = [], False
    for rate, words in _DRIFTING.items():
        before, after = facts.estimate("val", rate), facts.estimate("test", rate)
        if before is None or after is None or not (_bounded(before) and _bounded(after)):
            continue
        compared = True
        rise = round(after["value"] - before["value"], 3)
        if rise > 0:
            apart = "do not meet" if after["low"] > before["high"] else "meet"
            lines.append(
                f"{words} rises by {share(rise)}, from {interval(before)} on val to "
                f"{interval(after)} on test; the intervals {apart}."
            )
    return lines if compared else None


def _false_alarms(facts: CardFacts) -> list[str] | None:
    alarms = facts.analysis.get("false_positive_rate_at_p", {}).get(str(_PROMISED))
    if alarms is None or not _bounded(alarms):
        return None
    if alarms["value"] <= _PROMISED:
        return []
    ends = "begins above" if alarms["low"] > _PROMISED else "reaches"
    return [
        f"Of the normal images of test, {interval(alarms)} have a p-value of at most {_PROMISED:g}; at most "
        f"{_PROMISED:g} is promised for images like those of val, and the interval {ends} that."
    ]


def _miscalibration(facts: CardFacts) -> list[str] | None:
    error, by_chance = facts.estimate("test", "ece"), facts.analysis.get("ece_by_chance", {}).get("test")
    if error is None or by_chance is None or not _bounded(by_chance):
        return None
    if error["value"] <= by_chance["high"]:
        return []
    return [
        f"Stated probabilities are off by more than chance explains: ECE {share(error['value'])} on test, right ones "
        f"would show {interval(by_chance)}."
    ]


def _seeds(facts: CardFacts) -> list[str] | None:
    over = facts.analysis.get("seeds", {}).get("test", {})
    values = [value for value in over.get("auroc", {}).values() if value is not None]
    if len(values) < 2 or is_too_few(facts.estimate("test", "auroc")):
        return None
    return [
        f"The test AUROC depends on the seed: {share(min(values))} to {share(max(values))} over {len(values)} "
        f"trainings, mean {share(over.get('mean'))}, standard deviation {share(over.get('sd'))}."
    ]
