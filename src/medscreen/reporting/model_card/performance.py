"""The sections on how good a version is, and on where its threshold lies."""

from collections.abc import Iterator, Mapping
from typing import Any

from medscreen.evaluation.sample_size import TOO_FEW, is_too_few
from medscreen.reporting.model_card.facts import CardFacts, few_patients, figure
from medscreen.reporting.pages.markdown import bullets, inert, interval, percent, score, section, share, table

_SPLITS = ("val", "test")
_RATES = ("false_positive_rate", "false_negative_rate")
_CURVES = {"platt": "Platt's curve", "isotonic": "isotonic regression", "temperature": "a temperature"}
_METRICS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV, prevalence of the split",
    "npv": "NPV, prevalence of the split",
    "balanced_accuracy": "balanced accuracy",
    "accuracy_at_half": "accuracy at probability 0.5",
    "brier": "Brier score",
    "ece": "ECE",
}


def performance(facts: CardFacts) -> str:
    """The headline metrics on val and test; "" where none was measured."""
    rows = [[words, *cells] for words, cells in _measured(facts) if set(cells) != {"-"}]
    if not rows:
        return ""
    level = facts.parameters.get("evaluation.confidence")
    brackets = "the interval" if level is None else f"the {percent(float(level))} interval"
    return section(
        "Performance",
        f"On {facts.images} of this data set; in brackets {brackets}, patients taken as the unit. The threshold was "
        "chosen on val, which flatters val; nothing was chosen on test.",
        table(["metric", *_SPLITS], rows),
        few_patients(rows),
        "ECE and Brier score: less is better. An ECE within the range of chance shows no miscalibration."
        if facts.estimate("test", "ece")
        else "",
    )


def _measured(facts: CardFacts) -> Iterator[tuple[str, list[str]]]:
    """Each metric in words, and what the table shows of it on val and on test."""
    prevalence, by_chance = _prevalence(facts), facts.analysis.get("ece_by_chance", {})
    for metric, words in _METRICS.items():
        yield words, [_cell(facts, split, metric) for split in _SPLITS]
        if metric in ("ppv", "npv"):
            of_people = [figure(facts.estimate(split, metric, "at_prevalence")) for split in _SPLITS]
            yield f"{metric.upper()}, {prevalence}", of_people
    yield "ECE that chance alone gives", [figure(by_chance.get(split)) for split in _SPLITS]


def _cell(facts: CardFacts, split: str, metric: str) -> str:
    estimate = facts.estimate(split, metric)
    if metric != "ece":
        return figure(estimate)
    # it never has an interval of its own; AUROC rests on the same patients
    return TOO_FEW if is_too_few(facts.estimate(split, "auroc")) else interval(estimate)


def _prevalence(facts: CardFacts) -> str:
    stated = facts.analysis.get("prevalence")
    return "the stated prevalence" if stated is None else f"prevalence {percent(stated)}"


def operating_point(facts: CardFacts) -> str:
    """How a score is read, how much goes to a reader, what the gate decided; "" where none of it is known."""
    lines = []
    if point := facts.operating_point:
        lines.append(f"Policy: {inert(point.get('policy'))}, chosen on val.")
        lines.append(f"Called abnormal: score at or above {score(point.get('threshold'))}.")
        lines.append(_band(point))
    kept = facts.estimate("test", "coverage")
    if kept is not None:
        lines.append(
            f"Decided without a reader on test{facts.aside}: {figure(kept)} of the images; wrong among these "
            f"{figure(facts.estimate('test', 'error_kept'))}, among the referred ones "
            f"{figure(facts.estimate('test', 'error_referred'))}."
        )
    if (decision := inert(facts.decision)) != "-":
        lines.append(f'Decision of the gate: "{decision}"')
    return section("Operating point", bullets(lines)) if lines else ""


def _band(point: Mapping[str, Any]) -> str:
    start, end = point.get("refer_from"), point.get("refer_to")
    if start is None or end is None:
        return "Refer band: not stated."
    if start >= end:
        return "Refer band: empty, no image is referred to a reader."
    return f"Refer band: scores from {score(start)} to below {score(end)} go to a reader."


def bench(facts: CardFacts) -> str:
    """The policies side by side; "" where there was no bench."""
    rows = [
        [
            inert(row["policy"]),
            interval(row["threshold"], score),
            *(figure(row["rates"].get(split, {}).get(rate)) for rate in _RATES for split in _SPLITS),
        ]
        for row in facts.analysis.get("bench", [])
    ]
    if not rows:
        return ""
    return section(
        "Operating-point bench",
        f"Other thresholds for the same scores{facts.aside}: FPR is the share of normal images that is called "
        "abnormal, FNR the share of abnormal ones that is missed.",
        table(["policy", "threshold", "FPR val", "FPR test", "FNR val", "FNR test"], rows),
        few_patients(rows),
    )


def calibration(facts: CardFacts) -> str:
    """Stated probabilities against what happened on test; "" where no probability was judged."""
    bins = facts.analysis.get("reliability", {}).get("test", [])
    if not bins:
        return ""
    name = facts.operating_point.get("calibration")
    by = f"Probabilities come from {_CURVES.get(name, inert(name))}, fitted on val. " if name else ""
    return section(
        "Calibration",
        f"{by}Test split{facts.aside}, in bins of about equal count; right probabilities mostly lie within the "
        "interval of the share that is abnormal, which takes images as independent.",
        table(
            ["mean probability", "images", "share abnormal"],
            [[share(row["mean_probability"]), str(row["images"]), figure(row["observed"])] for row in bins],
            words=0,
        ),
    )
